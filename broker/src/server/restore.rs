//! What a broker with a data folder does when it starts: take back what was defined and what waits in queues; and what it does
//! when the data folder fails.

use std::collections::BTreeSet;
use std::path::Path;
use std::process;
use std::sync::{Arc, Weak};

use crate::access::password::Hashing;
use crate::access::{self, Directory};
use crate::config::{Auth, Config, Sync};
use crate::engine::QueueId;
use crate::engine::definitions::{self, Definition, Loaded};
use crate::engine::queue::{PagedRange, Restored as RestoredQueue, Seq};
use crate::engine::topology::RestoreError;
use crate::server::alarms::Alarm;
use crate::server::queue_handle::SharedQueue;
use crate::server::shared::Shared;
use crate::server::{StartError, default_directory, disk_monitor, pager, shared_with};
use crate::store::folder::DataFolder;
use crate::store::{self, LogStore, StoreEvent, SyncMode};

/// The exit code of a broker that can promise nothing any more.
const EXIT_STORE_FAILED: i32 = 74;

/// The data folder of a running broker.
#[derive(Debug)]
pub(super) struct Data {
    store: Arc<LogStore>,
    /// Keeps others out until the broker has stopped.
    _folder: DataFolder,
}

impl Drop for Data {
    /// Makes everything last that is not written yet, and lets others have the folder. Waits for the disk.
    fn drop(&mut self) {
        if let Err(error) = self.store.close() {
            tracing::error!(%error, "not everything could be written");
        }
    }
}

/// Opens the data folder and starts from what is in it.
pub(super) fn start(config: &Config, path: &Path) -> Result<(Arc<Shared>, Data), StartError> {
    let folder = DataFolder::open(path)?;
    let (store, restored) = LogStore::open(folder.path(), mode_of(config.store.sync))?;
    let store = Arc::new(store);
    let mut loaded = definitions::load(&restored.definitions);
    let directory = directory(config, &mut loaded, &restored)?;
    let shared = shared_with(config, store.clone(), directory, Hashing::Slow);
    listen_to(&store, &shared, path);
    restore(&shared, &store, &restored, loaded);
    pager::Pager::start(&shared).map_err(StartError::Thread)?;
    disk_monitor::spawn(&shared, path).map_err(StartError::Thread)?;
    Ok((shared, Data { store, _folder: folder }))
}

/// The users and virtual hosts that were kept, taken out of `loaded`; those of the settings if there is nothing about any.
fn directory(
    config: &Config,
    loaded: &mut Loaded,
    restored: &store::Restored,
) -> Result<Directory, StartError> {
    // Also what cannot be read: a damaged folder must not let the default user in.
    if !restored.definitions.keys().any(|key| access::is_key(key)) {
        return default_directory(config, Hashing::Slow).map_err(StartError::User);
    }
    let (records, others) = std::mem::take(&mut loaded.definitions)
        .into_iter()
        .partition::<Vec<_>, _>(|definition| matches!(definition, Definition::Access(_)));
    loaded.definitions = others;
    let records = records.into_iter().filter_map(|definition| match definition {
        Definition::Access(record) => Some(record),
        _ => None,
    });
    let (directory, orphans) = Directory::restore(records);
    for orphan in orphans {
        tracing::error!(definition = %orphan, "a definition is left out: there is no such user or vhost");
    }
    let user = &config.auth.user;
    if *user != Auth::default().user && directory.user(user).is_none() {
        tracing::warn!(
            user,
            "auth.user is not among the users in the data folder, and settings only name the first user of a new one"
        );
    }
    Ok(directory)
}

fn mode_of(sync: Sync) -> SyncMode {
    match sync {
        Sync::Always => SyncMode::Always,
        Sync::Interval(interval) => SyncMode::Interval(interval),
        Sync::Never => SyncMode::Never,
    }
}

/// Tells publishers and the operator when the data folder fails.
fn listen_to(store: &LogStore, shared: &Arc<Shared>, path: &Path) {
    let (shared, folder): (Weak<Shared>, _) = (Arc::downgrade(shared), path.display().to_string());
    let set = move |on| shared.upgrade().is_some_and(|shared| shared.alarms().set(Alarm::Store, on));
    store.on_event(Box::new(move |event| match event {
        StoreEvent::WritesFail { error } => {
            set(true);
            tracing::error!(
                folder, %error,
                "cannot write to the data folder: nothing is confirmed and publishers are held back until that works \
                 again; consumers go on. Trying again every second"
            );
        }
        StoreEvent::WritesWork => {
            set(false);
            tracing::info!(folder, "writing to the data folder works again");
        }
        StoreEvent::Panicked => {
            tracing::error!(
                folder,
                "the thread that writes the data folder has failed, which is a fault of Warren. Stopping. Please report what is \
                 logged above, and start again: everything that was confirmed is there"
            );
            process::exit(EXIT_STORE_FAILED);
        }
        StoreEvent::SyncFailed { error } => {
            tracing::error!(
                folder, %error,
                "syncing the data folder failed: the system may have lost what it had taken, so nothing can be confirmed any \
                 more. Stopping. Look after the disk, then start again: everything that was confirmed is there"
            );
            process::exit(EXIT_STORE_FAILED);
        }
    }));
}

/// Declares again what is durable.
fn restore(shared: &Arc<Shared>, store: &LogStore, restored: &store::Restored, loaded: Loaded) {
    // Also those whose definition cannot be read: their messages are still there.
    restored.queues.keys().for_each(|id| shared.skip_queue_ids(id.without_level()));
    for unreadable in &loaded.unreadable {
        tracing::error!(error = %unreadable.error, "a definition is damaged and left out; a copy of it is set aside");
        store.set_aside("definition", &[unreadable.error.key.as_slice(), &unreadable.value].concat());
    }
    let mut known = BTreeSet::new();
    for definition in loaded.definitions {
        let name = definition.to_string();
        if let Definition::Queue { id, .. } = &definition {
            known.insert(*id);
            shared.skip_queue_ids(*id);
        }
        if let Err(error) = restore_one(shared, restored, definition) {
            tracing::error!(definition = name, %error, "a definition cannot be taken back and is left out");
        }
    }
    // The messages of a queue that cannot be read are not thrown away: a copy of its definition is there.
    if loaded.unreadable.is_empty() {
        store.retain_queues(&known);
    }
}

fn restore_one(
    shared: &Arc<Shared>,
    restored: &store::Restored,
    definition: Definition,
) -> Result<(), RestoreError> {
    let Some(vhost) = shared.vhost(definition.vhost()) else {
        tracing::error!(vhost = definition.vhost(), "there is no such vhost");
        return Ok(());
    };
    vhost.write(|registry| match definition {
        // Taken out before.
        Definition::Access(_) => Ok(()),
        Definition::Policy(policy) => {
            registry.topology.restore_policy(policy);
            Ok(())
        }
        Definition::Exchange { options, .. } => registry.topology.restore_exchange(options),
        Definition::Queue { id, options, notes } => {
            let options = Arc::new(registry.topology.with_policies(options));
            let levels = 0..=options.highest_level();
            let messages: Vec<_> = levels.map(|level| restored_queue(restored, id.of_level(level))).collect();
            let queue = SharedQueue::restore(id, options.clone(), shared.backing(), &messages, notes);
            registry.topology.restore_queue(options, queue)
        }
        Definition::Binding(binding) => registry.topology.restore_binding(binding),
    })
}

fn restored_queue(restored: &store::Restored, id: QueueId) -> RestoredQueue {
    let Some(queue) = restored.queues.get(&id) else {
        return RestoredQueue { next_seq: Seq(0), delivered: None, paged: None };
    };
    let paged =
        queue.messages.map(|(range, count)| PagedRange { first: range.first, last: range.last, count });
    RestoredQueue { next_seq: queue.next_seq, delivered: queue.delivered, paged }
}
