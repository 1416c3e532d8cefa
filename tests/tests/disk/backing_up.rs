//! A backup that is made while the disk that it goes to refuses something: there is none afterwards that a restore would take, the
//! broker goes on, and the next backup is whole.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;
use warren_tests::warren;

use crate::history::NEVER;
use crate::load::{self, Publishing};
use crate::message::Size;
use crate::notes::Notes;
use crate::shim::Shim;
use crate::warren::Warren;

/// Which calls fail, by kind and number.
const CALLS: [&str; 6] = ["create", "mkdir", "write", "sync", "syncfolder", "rename"];
const AT: [u32; 3] = [1, 2, 5];

fn back_up(data: &Path, backup: &Path) -> Output {
    warren(&["ctl", "backup", "--data"]).arg(data).arg(backup).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_refuses_something_leaves_no_backup_and_the_broker_goes_on() {
    let place = TempDir::new().unwrap();
    let (data, notes) = (place.path().join("data"), Notes::default());
    fs::create_dir(&data).unwrap();
    let (mut failed, mut publisher) = (0, 1);
    let mut last = None;
    for calls in CALLS {
        for at in AT {
            let (error, reason) = match at {
                2 => ("ENOSPC", "No space left on device"),
                _ => ("EIO", "Input/output error"),
            };
            let rules = format!("calls={calls} at={at} path=backup fails={error}");
            let (struck, folder) = (Some(place.path().join("struck")), Some(place.path().to_owned()));
            let shim = Shim { rules: rules.clone(), struck, folder, ..Shim::default() };
            let broker = Warren::run(&data, Some(&shim), &[]);
            let connection = broker.connect().await;
            load::declare(&connection).await;
            let plan = Publishing { publisher, count: 30, window: 10, size: Size::Mixed };
            load::publish(&connection, &notes, plan).await.unwrap();

            let backup = place.path().join(format!("backup-{calls}-{at}"));
            let done = back_up(&data, &backup);
            let told = String::from_utf8_lossy(&done.stderr);
            let was_struck = !shim.strikes().is_empty();
            assert_eq!(done.status.success(), !was_struck, "{rules}: {told}");
            let whole = if was_struck {
                failed += 1;
                assert_eq!(done.status.code(), Some(74), "{rules}: {told}");
                assert!(told.contains(reason), "{rules}: {told}");
                assert!(!backup.exists(), "{rules}: something of it is left");
                let second = place.path().join(format!("backup-{calls}-{at}-again"));
                let done = back_up(&data, &second);
                assert!(done.status.success(), "{rules}: {done:?}");
                second
            } else {
                backup
            };
            let plan = Publishing { publisher: publisher + 1, ..plan };
            load::publish(&connection, &notes, plan).await.unwrap();
            assert!(broker.stop().status.success(), "{rules}");
            let checked = warren(&["restore", "--check"]).arg(&whole).output().unwrap();
            assert!(checked.status.success(), "{rules}: {checked:?}");
            if let Some(before) = last.replace(whole) {
                fs::remove_dir_all(before).unwrap();
            }
            let _ = fs::remove_file(place.path().join("struck"));
            publisher += 2;
        }
    }
    assert!(failed >= 12, "only {failed} of these made it fail");
    let broker = Warren::run(&data, None, &[]);
    let problems = notes.problems(NEVER, &load::drain(&broker.connect().await).await);
    assert_eq!(problems, Vec::<String>::new());
}
