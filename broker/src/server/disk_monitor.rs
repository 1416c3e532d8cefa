//! The disk monitor: raises the disk alarm while the data folder's disk has less free than the limit.
//!
//! A thread of its own looks once a second, because asking a disk that hangs (a network drive above all) must not hold up a
//! worker. It only looks and tells: the store reports what it could not write itself. `Broker::start` starts it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::config::DiskFreeLimit;
use crate::server::Shared;
use crate::server::alarms::Alarm;
use crate::store::folder::DiskSpace;

/// Fast disks take some gigabytes in a second, and the default limit leaves room for one: the alarm itself takes some
/// milliseconds to reach the publishers.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The most that has to be free beyond the limit before the alarm is cleared.
const MARGIN_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Looks at the disk of `folder` once before it returns and then until the broker is gone.
///
/// # Errors
///
/// When the system has no thread left.
pub fn spawn(shared: &Arc<Shared>, folder: &Path) -> io::Result<()> {
    let folder = folder.to_owned();
    let mut monitor = DiskMonitor::new(shared.disk_free_limit());
    monitor.look(DiskSpace::of(&folder)).tell(&folder, || Some(shared.clone()));
    let shared: Weak<Shared> = Arc::downgrade(shared);
    let watch = move || {
        while shared.strong_count() > 0 {
            thread::sleep(LOOK_INTERVAL);
            if let Some(limit) = shared.upgrade().map(|shared| shared.disk_free_limit()) {
                monitor.limit = limit;
            }
            // The broker is held only to tell it something: its end must not wait for a disk.
            monitor.look(DiskSpace::of(&folder)).tell(&folder, || shared.upgrade());
        }
    };
    thread::Builder::new().name("warren-disk".to_owned()).spawn(watch).map(drop)
}

/// What is known of the disk.
#[derive(Debug)]
struct DiskMonitor {
    limit: DiskFreeLimit,
    low: bool,
    unknown: bool,
}

/// What a look at the disk showed.
#[derive(Debug)]
enum Look {
    /// Nothing new.
    Same,
    /// There is too little from now on.
    Low { free_bytes: u64, limit_bytes: u64 },
    /// There is enough again.
    Enough { free_bytes: u64, limit_bytes: u64 },
    /// The system does not say, for the first time in a row. The alarm stays as it is.
    Unknown(io::Error),
}

impl DiskMonitor {
    fn new(limit: DiskFreeLimit) -> Self {
        Self { limit, low: false, unknown: false }
    }

    fn look(&mut self, reading: io::Result<DiskSpace>) -> Look {
        let DiskSpace { free_bytes, total_bytes } = match reading {
            Ok(space) => space,
            Err(_) if self.unknown => return Look::Same,
            Err(error) => {
                self.unknown = true;
                return Look::Unknown(error);
            }
        };
        self.unknown = false;
        let limit_bytes = self.limit.bytes(total_bytes);
        if !self.low && free_bytes < limit_bytes {
            self.low = true;
            return Look::Low { free_bytes, limit_bytes };
        }
        if self.low && free_bytes >= enough_bytes(limit_bytes, total_bytes) {
            self.low = false;
            return Look::Enough { free_bytes, limit_bytes };
        }
        Look::Same
    }
}

/// Where the alarm is cleared: somewhat above the limit, so that a disk that is just full does not flap, but never so far
/// that an empty disk would not do.
fn enough_bytes(limit_bytes: u64, total_bytes: u64) -> u64 {
    let room_bytes = total_bytes.saturating_sub(limit_bytes);
    limit_bytes.saturating_add((limit_bytes / 16).min(MARGIN_BYTES_MAX).min(room_bytes / 2))
}

impl Look {
    /// Logs it and sets the alarm.
    fn tell(self, folder: &Path, shared: impl FnOnce() -> Option<Arc<Shared>>) {
        let folder = folder.display();
        match self {
            Self::Same => {}
            Self::Low { free_bytes, limit_bytes } => {
                tracing::warn!(
                    %folder,
                    free_bytes,
                    limit_bytes,
                    "disk alarm: publishers are held back; free space on this disk, let consumers drain queues, or lower \
                     limits.disk_free (--disk-free-limit)"
                );
                if let Some(shared) = shared() {
                    shared.alarms().set(Alarm::Disk, true);
                }
            }
            Self::Enough { free_bytes, limit_bytes } => {
                tracing::info!(%folder, free_bytes, limit_bytes, "disk alarm cleared");
                if let Some(shared) = shared() {
                    shared.alarms().set(Alarm::Disk, false);
                }
            }
            Self::Unknown(error) => tracing::warn!(
                %folder,
                %error,
                "cannot tell how much space the disk has left; the disk alarm stays as it is until the system says"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn free(free_bytes: u64) -> io::Result<DiskSpace> {
        Ok(DiskSpace { free_bytes, total_bytes: 100 * GIB })
    }

    #[test]
    fn low_below_the_limit_and_enough_a_margin_above_it() {
        let mut monitor = DiskMonitor::new(DiskFreeLimit::Bytes(GIB));
        assert!(matches!(monitor.look(free(GIB)), Look::Same));
        assert!(matches!(
            monitor.look(free(GIB - 1)),
            Look::Low { free_bytes, limit_bytes: GIB } if free_bytes == GIB - 1
        ));
        assert!(matches!(monitor.look(free(0)), Look::Same));
        assert!(matches!(monitor.look(free(GIB + GIB / 16 - 1)), Look::Same));
        assert!(matches!(monitor.look(free(GIB + GIB / 16)), Look::Enough { limit_bytes: GIB, .. }));
        assert!(matches!(monitor.look(free(GIB)), Look::Same));
    }

    #[test]
    fn a_percentage_is_of_the_disk_as_it_is_now() {
        let mut monitor = DiskMonitor::new(DiskFreeLimit::Percent(10));
        assert!(matches!(monitor.look(free(10 * GIB)), Look::Same));
        let grown = DiskSpace { free_bytes: 10 * GIB, total_bytes: 200 * GIB };
        assert!(matches!(monitor.look(Ok(grown)), Look::Low { limit_bytes, .. } if limit_bytes == 20 * GIB));
        assert!(matches!(monitor.look(free(11 * GIB)), Look::Enough { .. }));
    }

    #[test]
    fn a_limit_of_zero_never_alarms_and_an_empty_disk_always_clears() {
        let mut monitor = DiskMonitor::new(DiskFreeLimit::Bytes(0));
        assert!(matches!(monitor.look(free(0)), Look::Same));
        assert_eq!(enough_bytes(99 * GIB, 100 * GIB), 99 * GIB + MARGIN_BYTES_MAX);
        assert_eq!(enough_bytes(100 * GIB - 2, 100 * GIB), 100 * GIB - 1);
        assert_eq!(enough_bytes(u64::MAX, 100 * GIB), u64::MAX);
    }

    #[test]
    fn an_unreadable_disk_is_told_once_and_leaves_the_alarm_as_it_is() {
        let mut monitor = DiskMonitor::new(DiskFreeLimit::Bytes(GIB));
        let failed = || Err(io::Error::from(io::ErrorKind::StaleNetworkFileHandle));
        assert!(matches!(monitor.look(free(0)), Look::Low { .. }));
        assert!(matches!(monitor.look(failed()), Look::Unknown(_)));
        assert!(matches!(monitor.look(failed()), Look::Same));
        assert!(matches!(monitor.look(free(2 * GIB)), Look::Enough { .. }));
        assert!(matches!(monitor.look(failed()), Look::Unknown(_)));
    }
}
