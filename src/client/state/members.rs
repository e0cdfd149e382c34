//! The members of the room that a page shows: those that are loaded, and how many there are.

use leptos::prelude::*;

use super::room::{MoreMembers, Room};
use crate::client::timeline::Change;
use crate::protocol::{MembersAck, User, UserId};

impl Room {
    /// Begins to load more members. Returns the position after which they are, if there are more.
    pub(crate) fn start_loading_members(self) -> Option<u64> {
        let MoreMembers::After(after) = self.more_members.get_untracked() else { return None };
        self.more_members.set(MoreMembers::Loading(after));
        Some(after)
    }

    /// The room was entered.
    pub(super) fn members_known(self, page: MembersAck, you: Option<User>) {
        self.show_members(page.members, you.as_ref());
        self.count.set(page.count);
        self.more_members.set(MoreMembers::after(page.members_after, page.crowded));
    }

    /// A request for members was answered, or has failed.
    pub(super) fn members_loaded(self, after: u64, page: Option<MembersAck>, me: Option<&User>) {
        if self.more_members.get_untracked() != MoreMembers::Loading(after) {
            // The room was entered again meanwhile.
            return;
        }
        let Some(page) = page else { return self.more_members.set(MoreMembers::After(after)) };
        if after == 0 {
            self.show_members(page.members, me);
        } else {
            self.members.update(|members| {
                let known: Vec<UserId> = members.iter().map(|member| member.id).collect();
                members.extend(page.members.into_iter().filter(|member| !known.contains(&member.id)));
            });
        }
        self.count.set(page.count);
        self.more_members.set(MoreMembers::after(page.members_after, page.crowded));
    }

    /// Shows a list, and the own user even if the list does not reach to it.
    fn show_members(self, mut members: Vec<User>, me: Option<&User>) {
        if let Some(me) = me
            && !members.iter().any(|member| member.id == me.id)
        {
            members.insert(0, me.clone());
        }
        self.members.set(members);
    }

    /// The number of members of a crowded room has changed. With a list, the room is no longer crowded.
    pub(super) fn crowd(self, count: u64, members: Option<Vec<User>>) {
        self.count.set(count);
        match members {
            Some(members) => {
                self.members.set(members);
                self.more_members.set(MoreMembers::None);
            }
            None if self.more_members.get_untracked() == MoreMembers::None => {
                self.more_members.set(MoreMembers::After(0));
            }
            None => {}
        }
    }

    pub(super) fn joined(self, user: User, count: u64) {
        self.count.set(count);
        let is_known = self.members.with_untracked(|members| members.iter().any(|member| member.id == user.id));
        if is_known {
            // For a slow connection the server may coalesce a departure and a return.
            return self.rename(&user);
        }
        self.timeline.add_presence(user.clone(), Change::Joined);
        self.members.update(|members| members.push(user));
    }

    pub(super) fn left(self, user: User, count: u64) {
        self.count.set(count);
        self.members.update(|members| members.retain(|member| member.id != user.id));
        self.timeline.add_presence(user, Change::Left);
    }

    pub(super) fn rename(self, user: &User) {
        self.members.try_update(|members| {
            if let Some(member) = members.iter_mut().find(|member| member.id == user.id) {
                member.nickname = user.nickname.clone();
            }
        });
    }
}
