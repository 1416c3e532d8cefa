//! Alarms as connections meet them, and the disk monitor on a real disk.

use super::peer::{self, Broker, Peer};
use super::{TRANSIENT, bodies};
use crate::config::DiskFreeLimit;
use crate::server::alarms::Alarm;
use crate::server::disk_monitor;

#[test]
fn publishers_go_on_only_once_the_last_alarm_is_cleared() {
    let broker = Broker::new();
    let mut publisher = Peer::open(&broker);
    publisher.declare_queue("q", false);
    let one = peer::publish(1, "q", &TRANSIENT, b"taken");
    for alarm in [Alarm::Memory, Alarm::Disk, Alarm::Store] {
        assert!(broker.shared.alarms().set(alarm, true));
    }
    publisher.work();
    publisher.send(&one);
    for alarm in [Alarm::Disk, Alarm::Memory, Alarm::Store] {
        publisher.work();
        assert!(!publisher.driver.wants_input(), "{alarm:?} is still on");
        assert!(broker.shared.alarms().set(alarm, false));
    }
    publisher.work();
    assert!(publisher.driver.wants_input());
}

#[test]
fn who_connects_during_an_alarm_is_held_by_the_first_publish_and_consumers_are_not() {
    let broker = Broker::new();
    let mut early = Peer::open(&broker);
    early.declare_queue("q", false);
    early.send(&peer::publish(1, "q", &TRANSIENT, b"early"));
    broker.shared.alarms().set(Alarm::Disk, true);
    let mut publisher = Peer::open(&broker);
    publisher.send(&peer::publish(1, "q", &TRANSIENT, b"taken"));
    assert!(!publisher.driver.wants_input());
    let mut consumer = Peer::open(&broker);
    consumer.consume("q", true);
    assert_eq!(bodies(&consumer.sent()), ["early", "taken"]);
    assert!(consumer.driver.wants_input());
}

#[test]
fn the_disk_monitor_has_looked_before_anybody_can_publish() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::new();
    broker.shared.set_disk_free_limit(DiskFreeLimit::Bytes(0));
    disk_monitor::spawn(&broker.shared, folder.path()).unwrap();
    assert_eq!(broker.shared.alarms().reason(), None);
    broker.shared.set_disk_free_limit(DiskFreeLimit::Bytes(u64::MAX));
    disk_monitor::spawn(&broker.shared, folder.path()).unwrap();
    assert_eq!(broker.shared.alarms().reason(), Some("low on disk"));
}
