//! Checks the record of a run against the promises of TRUST.md. It uses nothing but the record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use noom::client::session::{ConnectionState, Intent, SendStatus, UnsentMessage, Update};
use noom::protocol::frame::EnterRoom;
use noom::protocol::{
    Ack, ClientFrame, Command, EnterRoomAck, Message, MessageChange, MessageKey, MyRoom, Position, PostAck, RoomCount,
    RoomId, ServerFrame, Unrecovered, User, UserId,
};

use super::history::{History, PageId, Record, StoredRoom};

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: &'static str,
    pub what: String,
    /// Index of the record that shows it.
    pub at: usize,
}

/// Figures of a run that kept all promises.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub posted: u64,
    pub acked: u64,
}

pub const LOST: &str = "an acknowledged message is in the log";
pub const DOUBLED: &str = "a key is in the log at most once";
const DURABLE: &str = "a delivered message is durable";
const AGREED: &str = "all clients see the same message at the same position";
const INVENTED: &str = "a message in the log was sent by its author with its text";
const GAPLESS: &str = "the log has no gaps";
const CONTIGUOUS: &str = "a connection receives a room without gap or repetition";
const PURGED: &str = "all messages are removed whose removal was acknowledged";
const SHOWN: &str = "a page shows a room without gap or repetition";
const CHANGED: &str = "a changed message is durable, and the same for all clients";
const UP_TO_DATE: &str = "every page shows its messages as they are at the end";
const RESUMED: &str = "a resume returns exactly the missed messages, or the reason why not";
const ORDERED: &str = "a message sent after an acknowledgement follows it in the log";
const ANSWERED: &str = "every posted message is acknowledged or refused";
const SETTLED: &str = "every page is online and in its rooms at the end";
const COMPLETE: &str = "every page in a room shows the log to its end";
const MEMBERS: &str = "a page shows the users that are in the room";
const LISTED: &str = "a page shows the list of non-empty rooms with their user counts";
const COUNTED: &str = "a page shows how much is unread in the rooms of its user";
const KEPT: &str = "the database keeps durable messages";
const IDENTIFIED: &str = "a room keeps its id as long as its history, and no other room ever has it";

type Log = Vec<Arc<Message>>;
/// A room in an epoch.
type Place = (String, RoomId);
type Checked = Result<(), (&'static str, String)>;

/// Room names are compared without case.
fn fold(room: &str) -> String {
    room.to_uppercase().to_lowercase()
}

/// Checks a whole run.
pub fn check(history: &History) -> Result<Tally, Violation> {
    let mut checker = Checker::default();
    for (at, (_, record)) in history.records.iter().enumerate() {
        checker.take(record).map_err(|(rule, what)| Violation { rule, what, at })?;
    }
    Ok(Tally { posted: checker.posts.len() as u64, acked: checker.acked_keys.len() as u64 })
}

#[derive(Debug, Default)]
struct Checker {
    /// The current epoch.
    epoch: String,
    /// The folded name of each room, in all epochs.
    names: BTreeMap<RoomId, String>,
    /// The id of each room, by epoch and folded name.
    ids: BTreeMap<(String, String), RoomId>,
    logs: BTreeMap<Place, Log>,
    /// The first message of each room that has not expired, in the current epoch.
    floors: BTreeMap<RoomId, u64>,
    /// The messages of users that are to be removed, up to a position.
    purges: Vec<(Place, UserId, u64)>,
    /// All changes of messages, by epoch and room, and the state of the log before them.
    changes: BTreeMap<Place, Vec<Arc<MessageChange>>>,
    /// The states that a message has had, by epoch, room, seq and revision.
    states: BTreeMap<(Place, u64, u64), Arc<Message>>,
    /// The key that was delivered at a position, by epoch, room and seq.
    delivered: BTreeMap<(Place, u64), MessageKey>,
    /// The epoch of the server, by connection.
    conns: BTreeMap<u64, String>,
    asked: BTreeMap<(u64, u64), Command>,
    /// The last seq that a connection received, by connection and room.
    received: BTreeMap<(u64, RoomId), u64>,
    /// The last revision, in the same way.
    received_revs: BTreeMap<(u64, RoomId), u64>,
    posts: BTreeMap<MessageKey, Posted>,
    /// The acknowledgements of the current epoch.
    acks: Vec<(Place, PostAck)>,
    acked_keys: BTreeSet<MessageKey>,
    /// The last acknowledged seq, by epoch and room.
    acked_until: BTreeMap<Place, u64>,
    pages: BTreeMap<PageId, Page>,
}

#[derive(Debug)]
struct Posted {
    page: PageId,
    room: String,
    texts: Vec<String>,
    author: Option<UserId>,
    /// The last acknowledged position when it was first sent: epoch, seq.
    after: Option<(String, u64)>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Page {
    me: Option<User>,
    online: bool,
    /// By folded name.
    rooms: BTreeMap<String, Room>,
    /// Rooms that its session is in under a name by which it does not show them.
    background: BTreeSet<RoomId>,
    watches: bool,
    /// The list of rooms that it shows.
    listed: Vec<RoomCount>,
    /// The rooms of its user, as it shows them.
    own: Vec<MyRoom>,
}

/// The state of a room as a page shows it.
#[derive(Debug, Default)]
struct Room {
    /// The name by which the page knows it: as requested, later the canonical one.
    name: String,
    /// Once it was entered.
    id: Option<RoomId>,
    wanted: bool,
    entered: bool,
    epoch: String,
    newest: u64,
    /// The first message that has not expired.
    floor: u64,
    rev: u64,
    /// The messages that are loaded, by their seq.
    messages: BTreeMap<u64, Message>,
    /// All changes that have come. The page keeps those that messages may lack which are being loaded.
    changes: Vec<MessageChange>,
    members: Vec<User>,
}

impl Checker {
    fn take(&mut self, record: &Record) -> Checked {
        match record {
            Record::Epoch { epoch, rooms } => self.begin_epoch(epoch, rooms),
            Record::Committed(message) => self.commit(message),
            Record::Changed(change) => self.commit_change(change),
            Record::Expired { room, floor } => {
                self.floors.insert(*room, *floor);
                Ok(())
            }
            Record::PurgeRequested { room, user, up_to } => {
                self.purges.push(((self.epoch.clone(), *room), *user, *up_to));
                Ok(())
            }
            Record::Accepted { conn, epoch } => {
                self.conns.insert(*conn, epoch.clone());
                Ok(())
            }
            Record::Loaded { page, id, room, epoch, messages } => {
                id.map_or(Ok(()), |id| self.identify(epoch, id, room))?;
                self.load(*page, room, epoch, messages)
            }
            Record::Intended { page, intent } => {
                self.intend(*page, intent);
                Ok(())
            }
            Record::Sent { page, conn, frame } => {
                self.send(*page, *conn, frame);
                Ok(())
            }
            Record::Received { page, conn, frame } => self.receive(*page, *conn, frame),
            Record::Shown { page, update } => self.show(*page, update),
            Record::Closed(page) => {
                self.pages.remove(page);
                Ok(())
            }
            Record::Fault(_) => Ok(()),
            Record::Ended { rooms } => self.end(rooms),
        }
    }

    // --- The log -------------------------------------------------------------------------------

    fn begin_epoch(&mut self, epoch: &str, rooms: &[StoredRoom]) -> Checked {
        if epoch == self.epoch {
            self.holds(rooms)?;
        } else {
            self.check_acks()?;
        }
        self.epoch = epoch.to_owned();
        self.floors = rooms.iter().map(|room| (room.id, room.floor)).collect();
        for StoredRoom { id, name, log, .. } in rooms {
            self.identify(epoch, *id, name)?;
            let place = (epoch.to_owned(), *id);
            for message in log {
                self.states.insert((place.clone(), message.seq, message.rev()), message.clone());
            }
            self.logs.insert(place, log.clone());
        }
        Ok(())
    }

    /// Checks that a database has all messages that became durable in this epoch.
    fn holds(&mut self, rooms: &[StoredRoom]) -> Checked {
        let epoch = self.epoch.clone();
        rooms.iter().try_for_each(|room| self.identify(&epoch, room.id, &room.name))?;
        for ((_, id), log) in self.logs.iter().filter(|((of, _), _)| *of == epoch) {
            if rooms.iter().find(|room| room.id == *id).map_or(0, |room| room.log.len()) < log.len() {
                return Err((KEPT, format!("{id} has fewer than {} messages", log.len())));
            }
        }
        Ok(())
    }

    /// Checks that a room has the same id as before, and no other room has it.
    fn identify(&mut self, epoch: &str, id: RoomId, name: &str) -> Checked {
        let name = fold(name);
        let known = self.names.entry(id).or_insert_with(|| name.clone());
        if *known != name {
            return Err((IDENTIFIED, format!("{id} is {name} and was {known}")));
        }
        let known = self.ids.entry((epoch.to_owned(), name)).or_insert(id);
        if *known != id {
            return Err((IDENTIFIED, format!("{name} is {id} and was {known}", name = self.names[&id])));
        }
        Ok(())
    }

    fn commit(&mut self, message: &Arc<Message>) -> Checked {
        let (room, place) = (message.room, (self.epoch.clone(), message.room));
        let log = self.logs.entry(place.clone()).or_default();
        if message.seq != log.len() as u64 + 1 {
            return Err((GAPLESS, format!("{} after {} in {room}", message.seq, log.len())));
        }
        if log.iter().any(|earlier| earlier.key == message.key) {
            return Err((DOUBLED, format!("{} in {room}", message.key)));
        }
        log.push(message.clone());
        self.states.insert((place, message.seq, 0), message.clone());
        let Some(post) = self.posts.get(&message.key) else {
            return Err((INVENTED, format!("{} was never posted", message.key)));
        };
        let is_in_room = self.names.get(&room) == Some(&fold(&post.room));
        if post.author != Some(message.user.id) || !is_in_room || !post.texts.contains(&message.text) {
            return Err((INVENTED, format!("{} is not what {:?} posted", message.key, post.author)));
        }
        if let Some((epoch, seq)) = &post.after
            && *epoch == self.epoch
            && message.seq <= *seq
        {
            return Err((ORDERED, format!("{} is at {} in {room}, not after {seq}", message.key, message.seq)));
        }
        Ok(())
    }

    fn commit_change(&mut self, change: &Arc<MessageChange>) -> Checked {
        let place = (self.epoch.clone(), change.room);
        let log = self.logs.entry(place.clone()).or_default();
        let Some(message) = log.get_mut((change.seq as usize).wrapping_sub(1)) else {
            return Err((CHANGED, format!("{change:?} is of no message")));
        };
        if message.is_deleted() || !Arc::make_mut(message).apply(change) {
            return Err((CHANGED, format!("{change:?} follows {message:?}")));
        }
        self.states.insert((place.clone(), change.seq, change.state.rev), message.clone());
        self.changes.entry(place).or_default().push(change.clone());
        Ok(())
    }

    /// Checks that a delivered change is durable, and what became durable.
    fn is_change_in_log(&self, epoch: &str, change: &MessageChange) -> Checked {
        let stored = self.states.get(&((epoch.to_owned(), change.room), change.seq, change.state.rev));
        let is_same = stored.is_some_and(|stored| {
            stored.state.as_deref() == Some(&change.state)
                && change.text.as_ref().is_none_or(|text| *text == stored.text)
        });
        if is_same { Ok(()) } else { Err((CHANGED, format!("{change:?} was delivered for {stored:?}"))) }
    }

    /// Checks that a delivered message is durable, and the same that other clients received at its position.
    fn is_in_log(&mut self, epoch: &str, message: &Message) -> Checked {
        let (room, place) = (message.room, (epoch.to_owned(), message.room));
        let key = self.delivered.entry((place.clone(), message.seq)).or_insert(message.key);
        if *key != message.key {
            return Err((AGREED, format!("{} in {room} was {key} and is {}", message.seq, message.key)));
        }
        let log = self.logs.get(&place);
        match log.and_then(|log| log.get((message.seq as usize).wrapping_sub(1))) {
            None => Err((DURABLE, format!("{} in {room} is not in the log", message.seq))),
            Some(_) => {
                let stored = self.states.get(&(place, message.seq, message.rev()));
                if stored.is_some_and(|stored| **stored == *message) {
                    Ok(())
                } else {
                    Err((AGREED, format!("{stored:?} was delivered as {message:?}")))
                }
            }
        }
    }

    /// Checks that messages are consecutive and in the log.
    fn are_in_log(&mut self, epoch: &str, messages: &[Message]) -> Checked {
        messages.iter().try_for_each(|message| self.is_in_log(epoch, message))?;
        match messages.windows(2).find(|pair| pair[1].seq != pair[0].seq + 1) {
            Some(pair) => Err((CONTIGUOUS, format!("{} follows {}", pair[1].seq, pair[0].seq))),
            None => Ok(()),
        }
    }

    /// Checks that the log has every message acknowledged in the epoch that ends.
    fn check_acks(&mut self) -> Checked {
        for (place, ack) in std::mem::take(&mut self.acks) {
            let log = self.logs.get(&place);
            let stored = log.and_then(|log| log.get((ack.seq as usize).wrapping_sub(1)));
            if stored.is_none_or(|stored| stored.key != ack.key || stored.at != ack.at) {
                return Err((LOST, format!("{} at {} in {}", ack.key, ack.seq, ack.room)));
            }
        }
        Ok(())
    }

    /// Checks that all messages are gone whose removal was requested in the last epoch.
    fn check_purges(&self) -> Checked {
        for (place, user, up_to) in self.purges.iter().filter(|((epoch, _), _, _)| *epoch == self.epoch) {
            let floor = self.floors.get(&place.1).copied().unwrap_or_default();
            let log = self.logs.get(place).map(Vec::as_slice).unwrap_or_default();
            let is_left = |message: &&Arc<Message>| {
                (floor..=*up_to).contains(&message.seq) && message.user.id == *user && !message.is_deleted()
            };
            if let Some(left) = log.iter().find(is_left) {
                return Err((PURGED, format!("{} of {user} in {}", left.seq, place.1)));
            }
        }
        Ok(())
    }

    // --- Intents and sent frames ---------------------------------------------------------------

    fn intend(&mut self, id: PageId, intent: &Intent) {
        let page = self.pages.entry(id).or_default();
        match intent {
            Intent::Enter { room, after } => {
                let shown = page.rooms.entry(fold(room)).or_default();
                shown.name.clone_from(room);
                shown.wanted = true;
                shown.entered = false;
                // Until it is entered, its session may be in it under another name.
                page.background.extend(shown.id.take());
                if after.is_none() {
                    // Without a position it enters like a new page.
                    (shown.epoch, shown.newest) = (String::new(), 0);
                    shown.messages.clear();
                }
            }
            Intent::Leave { room } => {
                let shown = page.rooms.entry(fold(room)).or_default();
                (shown.wanted, shown.entered) = (false, false);
            }
            Intent::Post(UnsentMessage { room, key, text, .. }) => {
                let post = self.posts.entry(*key).or_insert_with(|| Posted {
                    page: id,
                    room: room.clone(),
                    texts: Vec::new(),
                    author: None,
                    after: None,
                    ended: false,
                });
                post.texts.push(text.clone());
                // After a reload, the new page sends the unsent messages of the old one.
                post.page = id;
                post.ended = false;
            }
            Intent::WatchRooms(watches) => page.watches = *watches,
            Intent::WatchMyRooms
            | Intent::KeepRoom { .. }
            | Intent::MarkRead { .. }
            | Intent::Discard(_)
            | Intent::Change(_)
            | Intent::DeleteOwn { .. }
            | Intent::Typing { .. }
            | Intent::Rename { .. }
            | Intent::Older { .. }
            | Intent::Search(_)
            | Intent::Pins { .. }
            | Intent::Members { .. }
            | Intent::ReconnectNow
            | Intent::JoinCall { .. }
            | Intent::LeaveCall { .. }
            | Intent::Signal(_) => {}
        }
    }

    fn send(&mut self, id: PageId, conn: u64, frame: &ClientFrame) {
        if let Command::NewMessage(sent) = &frame.command
            && let Some(post) = self.posts.get_mut(&sent.key)
        {
            if post.author.is_none() {
                let acked = self.acked_until.get(&(self.epoch.clone(), sent.room));
                post.after = acked.map(|seq| (self.epoch.clone(), *seq));
            }
            post.author = self.pages.get(&id).and_then(|page| page.me.as_ref()).map(|me| me.id);
        }
        if let Some(id) = frame.id {
            self.asked.insert((conn, id), frame.command.clone());
        }
    }

    // --- Received frames -----------------------------------------------------------------------

    fn receive(&mut self, page: PageId, conn: u64, frame: &ServerFrame) -> Checked {
        let epoch = self.conns.get(&conn).cloned().unwrap_or_default();
        match frame {
            ServerFrame::NewMessage(message) => {
                self.is_in_log(&epoch, message)?;
                match self.received.get_mut(&(conn, message.room)) {
                    Some(last) if message.seq == *last + 1 => *last += 1,
                    last => return Err((CONTIGUOUS, format!("{} follows {last:?} on {conn}", message.seq))),
                }
                Ok(())
            }
            ServerFrame::MessageChanged(change) => {
                self.is_change_in_log(&epoch, change)?;
                match self.received_revs.get_mut(&(conn, change.room)) {
                    Some(last) if change.state.rev == *last + 1 => *last += 1,
                    last => return Err((CONTIGUOUS, format!("rev {} follows {last:?} on {conn}", change.state.rev))),
                }
                Ok(())
            }
            ServerFrame::Ack { id, ack } => match self.asked.remove(&(conn, *id)) {
                Some(command) => self.receive_ack(page, conn, epoch, command, ack),
                None => Err((CONTIGUOUS, format!("{id} is answered twice on {conn}"))),
            },
            ServerFrame::RoomChange(list) => self.identify_listed(&epoch, &list.rooms),
            ServerFrame::RoomUpdate(update) => self.identify_listed(&epoch, &update.rooms),
            ServerFrame::MyRoomsChanged(update) => self.identify_own(&epoch, &update.rooms),
            ServerFrame::Error { .. }
            | ServerFrame::Welcome(_)
            | ServerFrame::Bye(_)
            | ServerFrame::Crowd(_)
            | ServerFrame::Nickname(_)
            | ServerFrame::Typing(_)
            | ServerFrame::MessagesExpired(_)
            | ServerFrame::GoingAway(_)
            | ServerFrame::CallJoined(_)
            | ServerFrame::CallLeft(_)
            | ServerFrame::Offer(_)
            | ServerFrame::Answer(_)
            | ServerFrame::Ice(_)
            | ServerFrame::Media(_) => Ok(()),
        }
    }

    fn identify_listed(&mut self, epoch: &str, rooms: &[RoomCount]) -> Checked {
        rooms.iter().try_for_each(|listed| self.identify(epoch, listed.room, &listed.name))
    }

    fn identify_own(&mut self, epoch: &str, rooms: &[MyRoom]) -> Checked {
        rooms.iter().try_for_each(|own| self.identify(epoch, own.room, &own.name))
    }

    fn receive_ack(&mut self, page: PageId, conn: u64, epoch: String, command: Command, ack: &Ack) -> Checked {
        match ack {
            Ack::EnterRoom(ack) => {
                self.identify(&epoch, ack.room, &ack.name)?;
                self.received.insert((conn, ack.room), ack.head);
                self.received_revs.insert((conn, ack.room), ack.rev);
                self.are_in_log(&epoch, &ack.messages)?;
                ack.changes.iter().flatten().try_for_each(|change| self.is_change_in_log(&epoch, change))?;
                let Command::EnterRoom(asked) = command else {
                    return Err((ANSWERED, format!("{} is answered by {ack:?}", command.name())));
                };
                let floor = self.floors.get(&ack.room).copied().filter(|_| epoch == self.epoch);
                is_whole(&epoch, floor, &asked, ack)
            }
            Ack::NewMessage(ack) => self.acknowledge(epoch, ack),
            Ack::History(ack) => {
                self.are_in_log(&epoch, &ack.messages)?;
                let Command::History(asked) = command else {
                    return Err((ANSWERED, format!("{} is answered by {ack:?}", command.name())));
                };
                match ack.messages.last().filter(|last| last.seq + 1 != asked.before) {
                    Some(last) => Err((CONTIGUOUS, format!("history before {} ends at {}", asked.before, last.seq))),
                    None => Ok(()),
                }
            }
            Ack::Search(ack) => ack.found.iter().try_for_each(|found| self.is_in_log(&epoch, &found.message)),
            Ack::Pins(ack) => {
                ack.messages.iter().try_for_each(|message| self.is_in_log(&epoch, message))?;
                match ack.messages.iter().find(|message| message.pinned().is_none()) {
                    Some(message) => Err((ANSWERED, format!("{} is listed and not pinned", message.seq))),
                    None => Ok(()),
                }
            }
            Ack::Change(ack) => {
                let stored = self.states.get(&((epoch, ack.room), ack.seq, ack.rev));
                stored.map(drop).ok_or_else(|| (DURABLE, format!("rev {} is acknowledged for {}", ack.rev, ack.seq)))
            }
            Ack::Hello(ack) => {
                self.pages.entry(page).or_default().me = Some(ack.user.clone());
                Ok(())
            }
            Ack::Rooms(list) => self.identify_listed(&epoch, &list.rooms),
            Ack::MyRooms(list) => self.identify_own(&epoch, &list.rooms),
            Ack::Empty(_) if matches!(command, Command::DeleteMessages(_)) => {
                let Command::DeleteMessages(asked) = command else { return Ok(()) };
                let (place, me) = ((epoch, asked.room), self.pages.get(&page).and_then(|page| page.me.as_ref()));
                let is_durable =
                    |(of, user, _): &(Place, UserId, u64)| *of == place && me.is_some_and(|me| me.id == *user);
                let found = self.purges.iter().any(is_durable);
                if found { Ok(()) } else { Err((DURABLE, format!("a purge of {} is acknowledged", asked.room))) }
            }
            Ack::Empty(_) | Ack::Nickname(_) | Ack::Members(_) | Ack::JoinCall(_) => Ok(()),
        }
    }

    fn acknowledge(&mut self, epoch: String, ack: &PostAck) -> Checked {
        let place = (epoch, ack.room);
        let log = self.logs.get(&place);
        let stored = log.and_then(|log| log.get((ack.seq as usize).wrapping_sub(1)));
        if stored.is_none_or(|stored| stored.key != ack.key || stored.at != ack.at) {
            return Err((DURABLE, format!("{} is acknowledged at {} in {}", ack.key, ack.seq, ack.room)));
        }
        if place.0 == self.epoch {
            let until = self.acked_until.entry(place.clone()).or_default();
            *until = (*until).max(ack.seq);
            self.acks.push((place, ack.clone()));
        }
        self.acked_keys.insert(ack.key);
        Ok(())
    }

    // --- Pages ---------------------------------------------------------------------------------

    fn load(&mut self, page: PageId, room: &str, epoch: &str, messages: &[Message]) -> Checked {
        self.are_in_log(epoch, messages)?;
        let newest = messages.last().map_or(0, |message| message.seq);
        let messages = messages.iter().map(|message| (message.seq, message.clone())).collect();
        let room_shown = Room { name: room.to_owned(), epoch: epoch.to_owned(), newest, messages, ..Room::default() };
        self.pages.entry(page).or_default().rooms.insert(fold(room), room_shown);
        Ok(())
    }

    fn show(&mut self, id: PageId, update: &Update) -> Checked {
        let Some(page) = self.pages.get_mut(&id) else { return Ok(()) };
        match update {
            Update::Connection(link) => {
                page.online = *link == ConnectionState::Online;
                if !page.online {
                    page.rooms.values_mut().for_each(|room| room.entered = false);
                }
            }
            Update::Me(me) => {
                page.rooms.values_mut().for_each(|room| room.rename(me));
                page.me = Some(me.clone());
            }
            Update::Entered(ack) => {
                // The server may have given this guest another number meanwhile.
                let me = page.me.as_ref().map(|me| me.id);
                page.me = ack.members.iter().find(|member| Some(member.id) == me).cloned().or(page.me.take());
                let room = page.rooms.entry(fold(&ack.name)).or_default();
                if room.wanted && room.name != ack.name {
                    // For the same room, entered in the background to send messages. The page does not show it.
                    page.background.insert(ack.room);
                    return Ok(());
                }
                page.background.remove(&ack.room);
                return room.enter(ack);
            }
            Update::NotEntered { room, .. } => page.rooms.entry(fold(room)).or_default().entered = false,
            Update::Message(message) => {
                let Some(room) = page.shown(message.room)? else { return Ok(()) };
                if message.seq != room.newest + 1 {
                    return Err((SHOWN, format!("{} follows {}", message.seq, room.newest)));
                }
                room.newest = message.seq;
                room.load(std::slice::from_ref(message));
            }
            Update::Changed(change) => {
                let Some(room) = page.shown(change.room)? else { return Ok(()) };
                if change.state.rev != room.rev + 1 {
                    return Err((SHOWN, format!("rev {} follows {}", change.state.rev, room.rev)));
                }
                room.rev = change.state.rev;
                room.changes.push(change.clone());
                room.change(change);
            }
            Update::Older { room, history: Some(history), .. } => {
                let room = page.rooms.entry(fold(room)).or_default();
                room.load(&history.messages);
                room.drop_expired();
            }
            Update::Expired(expired) => {
                if let Some(room) = page.shown(expired.room)? {
                    room.floor = room.floor.max(expired.floor);
                    room.drop_expired();
                }
            }
            Update::Named { requested, room } => {
                let shown = page.rooms.entry(fold(room)).or_default();
                if shown.name == *requested {
                    shown.name.clone_from(room);
                }
            }
            Update::MyRooms(rooms) => page.own.clone_from(rooms),
            Update::Rooms(list) => page.listed.clone_from(&list.rooms),
            Update::Welcome(came) => {
                let Some(room) = page.with_id(came.room) else { return Ok(()) };
                // Presence is coalesced: a slow reader may receive a return without the departure.
                room.members.retain(|member| member.id != came.user.id);
                room.members.push(came.user.clone());
            }
            Update::Bye(left) => {
                let Some(room) = page.with_id(left.room) else { return Ok(()) };
                room.members.retain(|member| member.id != left.user.id);
            }
            Update::Renamed(renamed) => {
                page.with_id(renamed.room).into_iter().for_each(|room| room.rename(&renamed.user));
            }
            Update::Posted { key, status, .. } => {
                let Some(post) = self.posts.get_mut(key) else { return Ok(()) };
                post.ended = true;
                let acked = self.acked_keys.contains(key);
                if matches!(status, SendStatus::Shown | SendStatus::Stored(_)) && !acked {
                    return Err((DURABLE, format!("{key} is shown as stored")));
                }
            }
            Update::Build(_)
            | Update::NotUnderstood
            | Update::Unsent(_)
            | Update::Older { history: None, .. }
            | Update::ChangeEnded { .. }
            | Update::OwnDeletion { .. }
            // There are too few pages for a crowd.
            | Update::Crowd(_)
            | Update::Found { .. }
            | Update::Pins { .. }
            | Update::Members { .. }
            | Update::Typing { .. }
            | Update::NotRenamed(_)
            | Update::Call { .. } => {}
        }
        Ok(())
    }

    // --- The end -------------------------------------------------------------------------------

    fn end(&mut self, rooms: &[StoredRoom]) -> Checked {
        self.holds(rooms)?;
        self.check_acks()?;
        self.check_purges()?;
        for (key, post) in self.posts.iter().filter(|(_, post)| !post.ended) {
            if self.pages.contains_key(&post.page) {
                return Err((ANSWERED, format!("{key} of page {}", post.page.0)));
            }
        }
        for (id, page) in &self.pages {
            if !page.online {
                return Err((SETTLED, format!("page {} is not online", id.0)));
            }
            for (name, room) in page.rooms.iter().filter(|(_, room)| room.wanted) {
                if !room.entered {
                    return Err((SETTLED, format!("page {} is not in {name}", id.0)));
                }
                let head = self.log_of(room).len() as u64;
                if room.epoch != self.epoch || room.newest != head {
                    return Err((COMPLETE, format!("page {} shows {name} to {} of {head}", id.0, room.newest)));
                }
                self.is_up_to_date(*id, name, room)?;
                self.check_members(*id, name, room)?;
            }
            self.check_list(*id, page)?;
            self.check_unread(*id, page)?;
        }
        Ok(())
    }

    /// The log of a room that a page shows.
    fn log_of(&self, room: &Room) -> &[Arc<Message>] {
        let log = room.id.and_then(|id| self.logs.get(&(self.epoch.clone(), id)));
        log.map(Vec::as_slice).unwrap_or_default()
    }

    fn is_up_to_date(&self, id: PageId, name: &str, room: &Room) -> Checked {
        let log = self.log_of(room);
        let floor = room.id.and_then(|id| self.floors.get(&id)).copied().unwrap_or_default();
        if let Some((seq, _)) = room.messages.first_key_value().filter(|(seq, _)| **seq < floor) {
            return Err((UP_TO_DATE, format!("page {} shows {seq} in {name}, which has expired", id.0)));
        }
        for (seq, shown) in &room.messages {
            let stored = log.get((*seq as usize).wrapping_sub(1));
            if stored.is_none_or(|stored| **stored != *shown) {
                return Err((UP_TO_DATE, format!("page {} shows {shown:?} in {name}, not {stored:?}", id.0)));
            }
        }
        Ok(())
    }

    fn check_list(&self, id: PageId, page: &Page) -> Checked {
        let mut people: BTreeMap<&str, BTreeSet<UserId>> = BTreeMap::new();
        for page in self.pages.values() {
            for (name, _) in page.rooms.iter().filter(|(_, room)| room.wanted) {
                people.entry(name).or_default().extend(page.me.as_ref().map(|me| me.id));
            }
        }
        let there: BTreeMap<_, _> =
            people.iter().map(|(name, people)| ((*name).to_owned(), people.len() as u64)).collect();
        let listed: BTreeMap<_, _> = page.listed.iter().map(|room| (fold(&room.name), room.count)).collect();
        if page.watches && there != listed {
            return Err((LISTED, format!("page {} shows {listed:?}, not {there:?}", id.0)));
        }
        Ok(())
    }

    /// The rooms that it is in need not be counted: there it shows the messages.
    fn check_unread(&self, id: PageId, page: &Page) -> Checked {
        let is_away = |room: &&MyRoom| page.rooms.get(&fold(&room.name)).is_none_or(|shown| !shown.wanted);
        for room in page.own.iter().filter(is_away) {
            let head = self.logs.get(&(self.epoch.clone(), room.room)).map_or(0, Vec::len) as u64;
            let is_counted = room.head == head || room.unread() >= 100;
            if !is_counted || room.read > head {
                return Err((COUNTED, format!("page {} shows {room:?}, and there are {head} messages", id.0)));
            }
        }
        Ok(())
    }

    fn check_members(&self, id: PageId, name: &str, room: &Room) -> Checked {
        let there = self.pages.values().filter(|page| page.rooms.get(name).is_some_and(|room| room.wanted));
        let mut there: Vec<_> = there.filter_map(|page| page.me.clone()).collect();
        let mut shown = room.members.clone();
        for list in [&mut there, &mut shown] {
            list.sort_by(|a, b| (a.id, &a.nickname).cmp(&(b.id, &b.nickname)));
        }
        // Several pages of a user are one member.
        there.dedup();
        if there != shown {
            return Err((MEMBERS, format!("page {} shows {shown:?} in {name}, not {there:?}", id.0)));
        }
        Ok(())
    }
}

impl Page {
    /// The room with this id, once the page has entered it.
    fn with_id(&mut self, id: RoomId) -> Option<&mut Room> {
        self.rooms.values_mut().find(|room| room.id == Some(id))
    }

    /// The room in which a message or change is shown. None if it is for a room in the background.
    fn shown(&mut self, id: RoomId) -> Result<Option<&mut Room>, (&'static str, String)> {
        let is_background = self.background.contains(&id);
        match self.with_id(id) {
            None if !is_background => Err((SHOWN, format!("{id} was not entered"))),
            room => Ok(room),
        }
    }
}

impl Room {
    fn rename(&mut self, user: &User) {
        let member = self.members.iter_mut().find(|member| member.id == user.id);
        member.into_iter().for_each(|member| member.nickname.clone_from(&user.nickname));
    }

    fn load(&mut self, messages: &[Message]) {
        for message in messages {
            let mut message = message.clone();
            self.changes.iter().for_each(|change| {
                message.apply(change);
            });
            self.messages.insert(message.seq, message);
        }
    }

    /// The page drops what has expired.
    fn drop_expired(&mut self) {
        self.messages.retain(|seq, _| *seq >= self.floor);
    }

    fn change(&mut self, change: &MessageChange) {
        if let Some(message) = self.messages.get_mut(&change.seq) {
            message.apply(change);
        }
    }

    fn enter(&mut self, ack: &EnterRoomAck) -> Checked {
        let same = self.epoch == ack.epoch;
        let next = ack.messages.iter().map(|message| message.seq).find(|seq| *seq > self.newest);
        // A room that the page has begun from the start and left again may still be resumed in the background.
        let is_blank = !self.wanted && self.epoch.is_empty();
        if ack.recovered && !is_blank && (!same || next.is_some_and(|seq| seq != self.newest + 1)) {
            return Err((SHOWN, format!("{next:?} follows {}, recovered", self.newest)));
        }
        if !same {
            self.messages.clear();
            self.changes.clear();
        } else if ack.changes.is_none() {
            // Too much was changed. The page drops what may be out of date.
            self.messages.clear();
        }
        self.load(&ack.messages);
        ack.changes.iter().flatten().for_each(|change| self.change(change));
        let known = if same { self.floor } else { 0 };
        self.floor = ack.floor.unwrap_or(1).max(known);
        self.drop_expired();
        self.rev = ack.rev;
        self.id = Some(ack.room);
        self.entered = true;
        self.newest = if same && ack.recovered { self.newest.max(ack.head) } else { ack.head };
        self.epoch.clone_from(&ack.epoch);
        self.members.clone_from(&ack.members);
        Ok(())
    }
}

/// Checks that the ack of `enter_room` fits the request. `floor`: the first message that has not expired by now. Not
/// known of an earlier epoch, whose last answers may still arrive.
fn is_whole(epoch: &str, floor: Option<u64>, asked: &EnterRoom, ack: &EnterRoomAck) -> Checked {
    let (first, last) = (ack.messages.first().map(|m| m.seq), ack.messages.last().map(|m| m.seq));
    // A position belongs to the room whose id was sent with it. An older database may not have that room.
    let after = asked.after.as_ref().filter(|_| asked.room.is_none_or(|room| room == ack.room));
    let whole = match (after, ack.recovered, ack.reason) {
        (Some(after), true, None) => {
            let missed = (after.seq < ack.head).then_some(after.seq + 1);
            after.epoch == epoch && after.seq <= ack.head && first == missed && ack.changes.is_some()
        }
        (None, false, None) => true,
        (Some(after), false, Some(Unrecovered::Expired)) => floor.is_none_or(|floor| after.seq + 1 < floor),
        (Some(Position { epoch: old, .. }), false, Some(Unrecovered::EpochChanged)) => old != epoch,
        (Some(after), false, Some(Unrecovered::PositionAhead)) => after.seq > ack.head || after.rev > ack.rev,
        (Some(after), false, Some(Unrecovered::GapTooLarge)) => after.seq < ack.head || ack.changes.is_none(),
        _ => false,
    };
    let is_wanted = fold(&asked.name) == fold(&ack.name);
    let ends_at_head = match last {
        Some(last) => last == ack.head,
        // Nothing was missed, there is nothing, or all of it has expired.
        None => ack.recovered || ack.head == 0 || ack.floor.is_some_and(|floor| floor > ack.head),
    };
    let is_kept = first >= ack.floor || first.is_none();
    if ack.epoch == epoch && is_wanted && whole && ends_at_head && is_kept {
        return Ok(());
    }
    let (head, reason) = (ack.head, ack.reason);
    let name = &ack.name;
    Err((RESUMED, format!("{after:?} was answered with {first:?} to {last:?} of {head} in {name}, {reason:?}")))
}
