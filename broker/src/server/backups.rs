//! [`Backups`]: the one backup that is being made, or that was made last.
//!
//! It is made on a thread of its own, which waits for the disk and holds no lock of the broker. How is the store's business. Called
//! by `http::routes::backup`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::server::admin::Admin;
use crate::server::shared::Shared;
use crate::store::backup::{self, BackupError, HoldError, Manifest, Order, Progress, Target};
use crate::store::folder::DiskSpace;

/// How often to look whether a backup that is to end has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

type Outcome = OnceLock<Result<Manifest, BackupError>>;

/// How a backup is to be made.
#[derive(Debug, Clone)]
pub struct BackupOrder {
    /// Where to: a folder that is not there or empty, as an absolute path.
    pub folder: PathBuf,
    /// All definitions as JSON, for people: nothing is restored from it.
    pub definitions: Vec<u8>,
    /// Bytes a second at most.
    pub rate: Option<u64>,
    /// It is given up when [`Admin::backup`] was not called for as long: who asked for it has gone.
    pub patience: Option<Duration>,
}

/// How a backup is getting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupView {
    /// Where to.
    pub folder: PathBuf,
    /// Bytes that are copied, and all there are; 0 until that is known.
    pub done_bytes: u64,
    /// See `done_bytes`.
    pub total_bytes: u64,
    /// Whether it is complete.
    pub state: BackupState,
}

/// Whether a backup is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupState {
    /// It is being made.
    Running,
    /// It is complete.
    Complete {
        /// Messages, each counted for every queue that holds it.
        messages: u64,
    },
    /// It was given up: nobody wanted it any more.
    Cancelled,
    /// It could not be made.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
}

/// The backup that is being made, or was made last.
#[derive(Debug, Default)]
pub(super) struct Backups(Mutex<Slot>);

#[derive(Debug, Default)]
struct Slot {
    job: Option<Job>,
    /// The broker stops.
    closed: bool,
}

#[derive(Debug)]
struct Job {
    folder: PathBuf,
    progress: Arc<Progress>,
    outcome: Arc<Outcome>,
    thread: JoinHandle<()>,
}

impl Job {
    fn view(&self) -> BackupView {
        let (done_bytes, total_bytes) = self.progress.bytes();
        // In this order: what it says last comes before its end.
        let has_ended = self.thread.is_finished();
        let state = match self.outcome.get() {
            Some(Ok(manifest)) => BackupState::Complete { messages: manifest.messages },
            Some(Err(BackupError::Cancelled)) => BackupState::Cancelled,
            Some(Err(error)) => BackupState::Failed { reason: error.to_string() },
            None if has_ended => BackupState::Failed {
                reason: "a fault of Warren, see the broker's log; please report it".to_owned(),
            },
            None => BackupState::Running,
        };
        BackupView { folder: self.folder.clone(), done_bytes, total_bytes, state }
    }
}

impl Backups {
    /// Gives up what is being made, and waits for its end, for so long at most. None is made from then on.
    pub(super) fn close(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.0.lock().closed = true;
        self.cancel();
        while self.is_running() && Instant::now() < deadline {
            thread::sleep(LOOK_INTERVAL);
        }
    }

    fn is_running(&self) -> bool {
        self.0.lock().job.as_ref().is_some_and(|job| job.view().state == BackupState::Running)
    }

    fn cancel(&self) {
        if let Some(job) = &self.0.lock().job {
            job.progress.cancel();
        }
    }
}

/// Backups.
impl Admin {
    /// Begins a backup. Every message that was confirmed before, every definition, and nothing that was acknowledged on the disk
    /// before is in it.
    ///
    /// # Errors
    ///
    /// If one is being made, or the broker keeps everything in memory. What is wrong with the folder is told by
    /// [`Admin::backup`].
    pub fn start_backup(&self, order: BackupOrder) -> Result<(), BackupError> {
        let shared = self.shared_arc();
        let folder = shared.running.read(|config| config.data.folder.clone());
        let data = folder.ok_or(HoldError::Nothing)?;
        let mut slot = shared.backups.0.lock();
        let is_running = |job: &Job| job.view().state == BackupState::Running;
        if slot.closed || slot.job.as_ref().is_some_and(is_running) {
            return Err(HoldError::Busy.into());
        }
        let (progress, outcome) = (Arc::new(Progress::watched(order.patience)), Arc::new(Outcome::new()));
        let folder = order.folder.clone();
        let work = {
            let (shared, progress, outcome) = (shared.clone(), progress.clone(), outcome.clone());
            move || {
                let made = make(&shared, &data, order, &progress);
                // It has none yet.
                let _ = outcome.set(made);
            }
        };
        let thread = thread::Builder::new().name("backup".to_owned()).spawn(work);
        let thread = thread.map_err(|source| BackupError::Io {
            action: "start a thread for",
            path: folder.clone(),
            source,
        })?;
        slot.job = Some(Job { folder, progress, outcome, thread });
        Ok(())
    }

    /// The backup that is being made, or was made last since the start.
    #[must_use]
    pub fn backup(&self) -> Option<BackupView> {
        let slot = self.shared().backups.0.lock();
        let job = slot.job.as_ref()?;
        job.progress.see();
        Some(job.view())
    }

    /// Gives up the backup that is being made, if there is one. What it has written is removed.
    pub fn cancel_backup(&self) {
        self.shared().backups.cancel();
    }
}

fn make(
    shared: &Shared,
    data: &Path,
    order: BackupOrder,
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let folder = order.folder.display().to_string();
    tracing::info!(folder, "a backup has begun");
    let started = Instant::now();
    let made = make_in(shared, data, order, progress);
    match &made {
        Ok(manifest) => {
            let (messages, bytes, seconds) =
                (manifest.messages, manifest.bytes(), started.elapsed().as_secs());
            tracing::info!(folder, messages, bytes, seconds, "the backup is complete");
        }
        Err(error) => tracing::warn!(folder, %error, "there is no backup"),
    }
    made
}

fn make_in(
    shared: &Shared,
    data: &Path,
    order: BackupOrder,
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let BackupOrder { folder, definitions, rate, .. } = order;
    let begun_ms = shared.clock.at(Instant::now());
    let held = shared.store.hold()?;
    let target = Target::claim(&folder, data)?;
    let total_bytes = DiskSpace::of(data).map_or(0, |space| space.total_bytes);
    let keep_free_bytes = shared.disk_free_limit().bytes(total_bytes);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    backup::make(&held, &target, Order { definitions, version, begun_ms, rate, keep_free_bytes }, progress)
}
