//! An executor without a connection: what an operator asks for in the name of a user, with that user's permissions.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::access;
use crate::access::password::PasswordHash;
use crate::access::{Tag, Tags, UserLimits};
use crate::server::access::User;
use crate::server::executor::Executor;
use crate::server::executor::permit::HeldRights;
use crate::server::shared::Shared;

impl Executor {
    /// For a user in a virtual host; without a user for somebody who may do everything. `None` if there is no such virtual host, or
    /// the user may not enter it.
    pub(in crate::server) fn for_operator(
        shared: &Arc<Shared>,
        user: Option<User>,
        vhost: &str,
    ) -> Option<Self> {
        let vhost = shared.vhost(vhost)?;
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut executor = Self::new(shared.clone(), shared.new_connection_id(), here, None, Arc::default());
        executor.vhost = Some(vhost);
        let Some(user) = user else {
            executor.rights = HeldRights::all(Arc::new(access::User {
                name: String::new(),
                password: PasswordHash::none(),
                tags: Tags::new([Tag::Administrator.name()]),
                limits: UserLimits::default(),
            }));
            return Some(executor);
        };
        executor.user = Some(user);
        executor.look_up_rights();
        executor.rights.open_vhost().then_some(executor)
    }

    /// Waits until what was stored is as safe as the store makes it.
    pub(in crate::server) fn wait_for_store(&self, epoch: crate::store::Epoch) {
        let is_safe = || self.shared.store.durable() >= epoch;
        if is_safe() {
            return;
        }
        self.shared.wait_durable(epoch, &self.outbox);
        futures::executor::block_on(std::future::poll_fn(|cx| {
            self.outbox.register(cx.waker());
            if is_safe() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        }));
    }

    /// The time of day, in milliseconds since 1970.
    pub(in crate::server) fn now_ms(&self) -> u64 {
        self.shared.census.now_ms()
    }

    /// The largest body that may be published, in bytes.
    pub(in crate::server) fn message_bytes_max(&self) -> u64 {
        self.shared.session_config().message_bytes_max
    }
}
