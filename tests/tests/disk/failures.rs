//! Calls to the disk that fail, each kind of them, at the start of a broker and while it works. Whatever happens, what was
//! confirmed must be there afterwards, and a broker that cannot go on must say why.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::{OnceCell, watch};
use tokio::time::timeout;
use warren_tests::{DEADLINE, eventually, eventually_async};

use crate::history::NEVER;
use crate::image::Image;
use crate::load::{self, Publishing};
use crate::message::Size;
use crate::notes::Notes;
use crate::shim::Shim;
use crate::warren::{Ended, Warren};

/// Which calls fail, by number. Later ones are tried only as long as there are so many.
const EIO_AT: [u32; 5] = [1, 3, 6, 12, 30];
const ENOSPC_AT: [u32; 4] = [2, 4, 8, 20];

/// Plain EIO and ENOSPC as the system words them.
const REASONS: [&str; 2] = ["Input/output error", "No space left on device"];

/// What a broker starts on.
#[derive(Clone, Copy, Debug)]
enum Folder {
    Empty,
    Worn,
}

/// One broker's life with rules, and one without afterwards.
struct Trial {
    rules: String,
    place: TempDir,
    shim: Shim,
    notes: Arc<Notes>,
}

impl Trial {
    fn new(rules: &str) -> Self {
        let place = TempDir::new().unwrap();
        std::fs::create_dir(place.path().join("data")).unwrap();
        let struck = Some(place.path().join("struck"));
        let shim = Shim { rules: rules.to_owned(), struck, ..Shim::default() };
        Self { rules: rules.to_owned(), place, shim, notes: Arc::default() }
    }

    fn data(&self) -> std::path::PathBuf {
        self.place.path().join("data")
    }

    /// On a folder that was used for long: the log's first files are gone, and what they said is only in the state.
    async fn on_worn_folder(rules: &str) -> Self {
        static WORN: OnceCell<(Image, Notes)> = OnceCell::const_new();
        let (image, notes) = WORN.get_or_init(Self::wear_out).await;
        let mut trial = Self::new(rules);
        image.write(&trial.data());
        trial.notes = Arc::new(notes.clone());
        trial
    }

    async fn wear_out() -> (Image, Notes) {
        let trial = Self::new("");
        let warren = Warren::run(&trial.data(), None, &[]);
        let connection = warren.connect().await;
        load::declare(&connection).await;
        let plan = Publishing { publisher: 50, count: 500, window: 100, size: Size::About(60_000) };
        load::publish(&connection, &trial.notes, plan).await.unwrap();
        load::take_all(&connection, &trial.notes).await;
        eventually("the log's first file is removed", || {
            (!trial.data().join("log/0000000000000000.log").exists()).then_some(())
        });
        trial.load(&warren, 60, [5, 50]).await.unwrap();
        assert!(warren.stop().status.success());
        let image = Image::of_folder(&trial.data());
        (image, Arc::into_inner(trial.notes).expect("nobody else notes anything"))
    }

    /// Publishes and consumes; fails if the broker goes away.
    async fn load(&self, warren: &Warren, first: u32, counts: [u32; 2]) -> lapin::Result<()> {
        let connection = warren.try_connect("").await?;
        load::try_declare(&connection).await?;
        let (stop, stopped) = watch::channel(false);
        let consumer = {
            let (connection, notes) = (warren.try_connect("").await?, Arc::clone(&self.notes));
            tokio::spawn(async move { load::consume(&connection, &notes, first, &[1, 2, 3], stopped).await })
        };
        let mut publishers = Vec::new();
        for (publisher, (count, window)) in (first + 1..).zip(counts.into_iter().zip([1, 16])) {
            let plan = Publishing { publisher, count, window, size: Size::Mixed };
            let (connection, notes) = (warren.try_connect("").await?, Arc::clone(&self.notes));
            publishers.push(tokio::spawn(async move { load::publish(&connection, &notes, plan).await }));
        }
        let mut result = Ok(());
        for publisher in publishers {
            result = result.and(publisher.await.unwrap());
        }
        // Nobody listens if the broker has gone.
        let _ = stop.send(true);
        result.and(consumer.await.unwrap())
    }

    /// A life of a broker with the rules.
    async fn live(&self) {
        let warren = match Warren::start(&self.data(), Some(&self.shim), &[]) {
            Err(ended) => return self.check_end(&ended),
            Ok(warren) => warren,
        };
        let worked = tokio::select! {
            worked = timeout(DEADLINE, self.load_or_be_blocked(&warren)) => {
                worked.unwrap_or_else(|_| panic!("{}: the broker neither works nor ends", self.rules))
            }
            // A client that was about to connect may not notice.
            () = eventually_async("the broker works or ends", async || (!warren.is_running()).then_some(())) => {
                return self.check_end(&warren.wait_for_exit());
            }
        };
        // The connection may be lost a moment before the process has ended.
        if let Err(error) = worked {
            println!("{}: {error}", self.rules);
            return self.check_end(&warren.wait_for_exit());
        }
        assert!(warren.is_running(), "{}: it did all it was asked to, and ended", self.rules);
        let ended = warren.stop();
        if !ended.status.success() {
            self.check_end(&ended);
        }
        self.check_panics(&ended.log);
    }

    /// Works until everything is confirmed, the broker goes away, or it has blocked publishers because calls fail for good.
    async fn load_or_be_blocked(&self, warren: &Warren) -> lapin::Result<()> {
        if self.rules.contains("at=") {
            return self.load(warren, 200, [20, 100]).await;
        }
        let connection = warren.try_connect("").await?;
        // Only who publishes is told.
        let channel = connection.create_channel().await?;
        channel.basic_publish("".into(), "nobody".into(), <_>::default(), b"", <_>::default()).await?;
        let status = connection.status();
        let blocked = eventually_async("publishers are blocked", async || status.blocked().then_some(()));
        tokio::select! {
            result = self.load(warren, 200, [20, 100]) => result,
            () = blocked => Ok(()),
        }
    }

    /// A broker that gave up says why, and that is the call that failed.
    fn check_end(&self, ended: &Ended) {
        let (status, log) = (ended.status, &ended.log);
        assert!(
            !self.shim.strikes().is_empty(),
            "{}: it ended without a reason: {status}\n{log}",
            self.rules
        );
        assert!(status.code().is_some_and(|code| code != 0), "{}: {status}\n{log}", self.rules);
        assert!(REASONS.iter().any(|reason| log.contains(reason)), "{}: no reason given:\n{log}", self.rules);
        self.check_panics(log);
    }

    /// sled panics on some errors, which the broker catches; it never does so itself.
    fn check_panics(&self, log: &str) {
        let panics: Vec<&str> =
            log.lines().filter(|line| line.contains("panicked at") && !line.contains("/sled-")).collect();
        assert!(panics.is_empty(), "{}: {log}", self.rules);
    }

    /// A life without rules, in which everything must be there.
    async fn check_data(&self) {
        let warren = Warren::run(&self.data(), None, &[]);
        let queues = load::drain(&warren.connect().await).await;
        let problems = self.notes.problems(NEVER, &queues);
        assert!(problems.is_empty(), "{}: {:#?}", self.rules, &problems[..problems.len().min(5)]);
        let ended = warren.stop();
        assert!(ended.status.success(), "{}: {}\n{}", self.rules, ended.status, ended.log);
    }

    /// All of it. Returns which calls were struck.
    async fn run(rules: &str, folder: Folder) -> Vec<String> {
        let trial = match folder {
            Folder::Empty => Self::new(rules),
            Folder::Worn => Self::on_worn_folder(rules).await,
        };
        trial.live().await;
        trial.check_data().await;
        let strikes = trial.shim.strikes();
        println!("{rules}: struck {strikes:?}");
        strikes
    }
}

/// Has a kind of call fail at several places, as long as there are so many calls.
async fn each_fails(calls: &str) {
    let mut struck = 0;
    for folder in [Folder::Empty, Folder::Worn] {
        for (errno, places) in [("EIO", &EIO_AT[..]), ("ENOSPC", &ENOSPC_AT[..])] {
            for at in places {
                let rules = format!("calls={calls} at={at} fails={errno}");
                let strikes = Trial::run(&rules, folder).await;
                if strikes.is_empty() {
                    break;
                }
                struck += 1;
            }
        }
    }
    assert!(struck > 0, "no such call was made at all, so nothing was tested");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_loses_nothing_confirmed() {
    each_fails("write").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_loses_nothing_confirmed() {
    each_fails("sync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_of_a_folder_loses_nothing_confirmed() {
    each_fails("syncfolder").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_made_loses_nothing_confirmed() {
    each_fails("create").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_opened_loses_nothing_confirmed() {
    each_fails("open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_rename_or_removal_loses_nothing_confirmed() {
    each_fails("rename,unlink,rmdir").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_loses_nothing_confirmed() {
    each_fails("mkdir").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_cannot_be_set_loses_nothing_confirmed() {
    each_fails("truncate,allocate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_cut_short_loses_nothing_confirmed() {
    for at in [1, 2, 3, 5, 10, 30] {
        let (one, other) =
            if at % 2 == 0 { (Folder::Empty, Folder::Worn) } else { (Folder::Worn, Folder::Empty) };
        Trial::run(&format!("calls=write at={at} short"), one).await;
        // As a disk that fills up does it: a part, then nothing.
        let next = at + 1;
        Trial::run(&format!("calls=write at={at} short; calls=write at={next} fails=ENOSPC"), other).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_refuses_everything_at_the_start_costs_nothing() {
    for (calls, errno) in
        [("write", "ENOSPC"), ("sync", "EIO"), ("open", "EIO"), ("create,mkdir,rename", "ENOSPC")]
    {
        for path in ["", "state-", "log", "state-a"] {
            let rules = format!("calls={calls} path={path} fails={errno}");
            Trial::run(&rules, Folder::Worn).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_publishers_back_until_there_is_room_and_lets_consumers_go_on() {
    let mut trial = Trial::new("");
    let full = trial.place.path().join("full");
    trial.shim.rules =
        format!("calls=write,create,truncate,allocate,mkdir while={} fails=ENOSPC", full.display());
    let warren = Warren::run(&trial.data(), Some(&trial.shim), &[]);
    let connection = warren.connect().await;
    load::declare(&connection).await;
    let plan = |publisher| Publishing { publisher, count: 200, window: 16, size: Size::Mixed };
    load::publish(&connection, &trial.notes, plan(1)).await.unwrap();

    std::fs::write(&full, "").unwrap();
    let before = trial.notes.confirmed_count();
    let publisher = {
        let (connection, notes) = (warren.connect().await, Arc::clone(&trial.notes));
        let status = connection.status().clone();
        let published = tokio::spawn(async move { load::publish(&connection, &notes, plan(2)).await });
        eventually_async("the publisher is blocked", async || status.blocked().then_some(())).await;
        (status, published)
    };
    load::take(&warren.connect().await, &trial.notes, 0, 30).await;
    assert_eq!(trial.notes.confirmed_count(), before, "confirmed on a full disk");
    assert!(!publisher.1.is_finished());

    std::fs::remove_file(&full).unwrap();
    timeout(DEADLINE, publisher.1).await.expect("published in time").unwrap().unwrap();
    let (status, confirmed) = (publisher.0, trial.notes.confirmed_count());
    assert_eq!(confirmed, before + 200);
    drop(status);
    let ended = warren.stop();
    assert!(ended.status.success(), "{}\n{}", ended.status, ended.log);
    assert!(ended.log.contains(REASONS[1]), "{}", ended.log);
    trial.check_data().await;
}
