//! The body of an export: reads a page of messages when the client has taken the one before.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use futures::stream::try_unfold;
use http::request::Parts;
use tokio::time::sleep;

use crate::protocol::{ErrorCode, Message, Refusal};
use crate::server::Server;
use crate::server::export::document::Document;
use crate::server::export::places::{Person, Place};
use crate::server::history::Extent;
use crate::server::hub::address::Address;
use crate::server::hub::payer::Payer;
use crate::server::hub::price::Price;
use crate::server::id::RoomRow;

/// A client that reads more slowly than this on average, after [`SLOW_AFTER`], is ended. Otherwise a few of them could
/// keep all places for days.
const MIN_BYTES_PER_SECOND: f64 = 4096.0;
const SLOW_AFTER: Duration = Duration::from_secs(60);
/// The tries of a read while the store has too many.
const TRIES: usize = 5;

/// The budgets that an export is paid from.
#[derive(Debug)]
pub(super) enum Payment {
    /// A visitor with a cookie, and the address.
    User(Payer),
    /// A client without a cookie pays as an address.
    Address(Address),
}

impl Payment {
    /// The person who sent a request, and the budgets that pay for it.
    pub(super) async fn of(server: &Server, request: &Parts) -> Result<(Person, Self), Refusal> {
        let address = server.address_of(&request.extensions);
        match server.identity.from_cookie(&request.headers, server.hub.environment().unix_time()) {
            Some(found) => {
                let user = found.credential.user;
                let account = server.hub.account(user).await?;
                Ok((Person::User(user), Self::User(Payer { account, address })))
            }
            None => Ok((Person::Address(address.network()), Self::Address(address))),
        }
    }

    /// The network of the address.
    pub(super) fn network(&self) -> IpAddr {
        match self {
            Self::User(payer) => payer.address.network(),
            Self::Address(address) => address.network(),
        }
    }

    fn spend(&self, price: Price) -> Result<(), Refusal> {
        match self {
            Self::User(payer) => payer.spend(price),
            Self::Address(address) => address.spend(price),
        }
    }
}

/// The reason why an export ends before its last line. The client sees a connection that breaks.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Ended {
    #[error("the server shuts down")]
    Draining,
    #[error("the client reads too slowly")]
    Slow,
    #[error("the store cannot read")]
    Unavailable,
}

/// An export that is being sent. Dropped, and its place with it, when the client goes away.
pub(super) struct Export {
    server: Arc<Server>,
    room: RoomRow,
    extent: Extent,
    document: Document,
    payment: Payment,
    step: Step,
    began: Instant,
    sent: usize,
    _place: Place,
}

/// The next piece.
#[derive(Clone, Copy)]
enum Step {
    Begin,
    /// The messages after this `seq`, or the end.
    After(u64),
    Done,
}

impl Export {
    pub(super) fn new(
        server: Arc<Server>,
        room: RoomRow,
        extent: Extent,
        document: Document,
        payment: Payment,
        place: Place,
    ) -> Self {
        let began = server.hub.environment().now();
        Self { server, room, extent, document, payment, step: Step::Begin, began, sent: 0, _place: place }
    }

    /// Nothing is read before the client takes it.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(try_unfold(self, |mut export| async move {
            let piece = export.next().await?;
            Ok::<_, Ended>(piece.map(|piece| (piece, export)))
        }))
    }

    async fn next(&mut self) -> Result<Option<String>, Ended> {
        let mut piece = String::new();
        match self.step {
            Step::Begin => {
                self.document.begin(&mut piece);
                self.step = Step::After(self.extent.floor - 1);
            }
            Step::After(seq) if seq < self.extent.head => {
                self.check()?;
                self.pay().await?;
                let page = self.read(seq).await?;
                let start = self.extent.start_of(&page);
                // A gap would be a file that looks complete and is not, unless the messages have expired meanwhile.
                if start != seq + 1 && start > self.floor().await? {
                    return Err(Ended::Unavailable);
                }
                page.iter().for_each(|message| self.document.message(message, &mut piece));
                self.step = Step::After(self.extent.end_of(&page));
            }
            Step::After(_) => {
                self.document.end(&mut piece);
                self.step = Step::Done;
            }
            Step::Done => return Ok(None),
        }
        self.sent += piece.len();
        Ok(Some(piece))
    }

    fn check(&self) -> Result<(), Ended> {
        if self.server.draining.is_cancelled() {
            return Err(Ended::Draining);
        }
        let elapsed = self.server.hub.environment().now().saturating_duration_since(self.began);
        let is_slow = elapsed > SLOW_AFTER && (self.sent as f64) < elapsed.as_secs_f64() * MIN_BYTES_PER_SECOND;
        if is_slow { Err(Ended::Slow) } else { Ok(()) }
    }

    /// Pays for a page, and waits until it can be paid.
    async fn pay(&self) -> Result<(), Ended> {
        while let Err(refusal) = self.payment.spend(Price::EXPORT_PAGE) {
            self.check()?;
            sleep(pause(&refusal)).await;
        }
        Ok(())
    }

    /// The `seq` of the oldest message that is kept by now.
    async fn floor(&self) -> Result<u64, Ended> {
        let extent = self.server.hub.extent(self.room.clone()).await;
        extent.map(|extent| extent.floor).map_err(|_| Ended::Unavailable)
    }

    async fn read(&self, after: u64) -> Result<Vec<Message>, Ended> {
        for _ in 0..TRIES {
            match self.server.hub.history_between(self.room.clone(), after, self.extent.head).await {
                Ok(page) => return Ok(page),
                Err(refusal) if refusal.code == ErrorCode::RateLimited => sleep(pause(&refusal)).await,
                Err(_) => break,
            }
        }
        Err(Ended::Unavailable)
    }
}

fn pause(refusal: &Refusal) -> Duration {
    Duration::from_millis(refusal.retry_after_ms.unwrap_or(1_000).max(1))
}
