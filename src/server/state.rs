//! The state that requests and connections share.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::Extensions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attachments::Attachments;
use super::config::Config;
use super::environment::SystemEnvironment;
use super::export::places::Places;
use super::forwarded::ClientAddresses;
use super::hub::Hub;
use super::hub::address::Address;
use super::identity::Identity;
use super::origin::OwnAddress;
use super::page_threads::PageThreads;
use super::per_address::PerAddress;
use super::refused_forms::RefusedForms;
use super::store::Store;
use super::tls::Tls;
use super::transport::post_inboxes::PostInboxes;

/// Pays for requests without an address, which exist only in tests that call the router directly.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The server's parts, shared by all requests and connections.
#[derive(Debug)]
pub struct Server {
    /// Rooms, users and calls.
    pub hub: Arc<Hub>,
    /// Signs and verifies cookies and resume tokens.
    pub identity: Arc<Identity>,
    /// The validated configuration.
    pub config: Config,
    /// The server's own names and origin.
    pub(super) own_address: OwnAddress,
    /// The addresses of clients behind proxies.
    pub(super) client_addresses: ClientAddresses,
    /// Cancelled when the server begins to drain.
    pub(super) draining: CancellationToken,
    /// Open connections per address, of all transports.
    pub(super) addresses: PerAddress,
    /// The tasks of all connections. The drain waits for them.
    pub(super) connections: TaskTracker,
    /// Delivers the POSTs of connections over events.
    pub(super) post_inboxes: PostInboxes,
    /// The database.
    pub(super) store: Arc<Store>,
    /// Files in messages.
    pub(super) attachments: Arc<Attachments>,
    /// The exports that run.
    pub(super) exports: Places,
    /// The contents of forms that were refused.
    pub(super) refused_forms: RefusedForms,
    /// Render pages.
    pub(super) page_threads: PageThreads,
}

impl Server {
    /// `tls`: the certificate, if this process terminates TLS.
    pub(super) fn new(
        config: Config,
        tls: Option<Arc<Tls>>,
        identity: Identity,
        store: Arc<Store>,
        attachments: Attachments,
        page_threads: PageThreads,
    ) -> Self {
        Self {
            own_address: OwnAddress::new(config.public_url.clone(), config.allowed_hosts.clone(), tls),
            client_addresses: ClientAddresses::new(config.trusted_proxies.clone()),
            store: store.clone(),
            attachments: Arc::new(attachments),
            exports: Places::new(&config.limits),
            hub: Hub::new(store, Arc::new(SystemEnvironment), config.limits.clone(), config.ice.clone()),
            identity: Arc::new(identity),
            config,
            draining: CancellationToken::new(),
            addresses: PerAddress::default(),
            connections: TaskTracker::new(),
            post_inboxes: PostInboxes::default(),
            refused_forms: RefusedForms::default(),
            page_threads,
        }
    }

    /// The address that pays for a request, as the throttle found it.
    pub(super) fn address_of(&self, extensions: &Extensions) -> Address {
        extensions.get::<Address>().cloned().unwrap_or_else(|| self.hub.directory.address(UNKNOWN))
    }
}
