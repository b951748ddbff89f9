//! Every interleaving of what raises and lowers what is held and what is lent.

use std::error::Error;
use std::sync::Arc;
// Of std, so that the account itself is no place to be interrupted at.
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::thread;

use super::account::{Lender, MemoryAccount};
use super::group::Group;
use super::kind::Kind;
use super::ledger::{Ledger, Watermarks};
use crate::payload::interleavings::exhaust;

/// Lends up to `limit_bytes`, and insists that what is held is never less than covered.
#[derive(Default)]
struct Account {
    limit_bytes: usize,
    lent_bytes: AtomicUsize,
    /// Held for certain: reserved, and not about to be given back.
    held_bytes: AtomicUsize,
}

impl MemoryAccount for Account {
    fn try_grow(&self, bytes: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
        let more = |lent: usize| Some(lent + bytes).filter(|sum| *sum <= self.limit_bytes);
        self.lent_bytes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .map(drop)
            .map_err(|_| "full".into())
    }

    fn shrink(&self, bytes: usize) {
        let before = self.lent_bytes.fetch_sub(bytes, Ordering::SeqCst);
        let held_bytes = self.held_bytes.load(Ordering::SeqCst);
        assert!(
            before >= bytes + held_bytes,
            "{held_bytes} bytes are held, {bytes} of {before} came back"
        );
    }
}

fn come_and_go(ledger: &Ledger, account: &Account, bytes: usize) {
    if ledger.reserve(Kind::Dirty, bytes).is_ok() {
        let held_bytes = account.held_bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        assert!(account.lent_bytes.load(Ordering::SeqCst) >= held_bytes);
        thread::yield_now();
        account.held_bytes.fetch_sub(bytes, Ordering::SeqCst);
        ledger.give_back(Kind::Dirty, bytes);
    }
}

/// Two threads reserve and give back, under an account of this size.
fn race(limit_bytes: usize, bytes: [usize; 2]) {
    exhaust(move || {
        let account = Arc::new(Account {
            limit_bytes,
            ..Account::default()
        });
        let shared: Arc<dyn MemoryAccount> = Arc::<Account>::clone(&account);
        let watermarks = Watermarks { low: 50, high: 100 };
        let ledger = Arc::new(Ledger::new(100, watermarks, Some(Lender::new(shared, 4))));
        let other = {
            let (ledger, account) = (Arc::clone(&ledger), Arc::clone(&account));
            thread::spawn(move || come_and_go(&ledger, &account, bytes[0]))
        };
        come_and_go(&ledger, &account, bytes[1]);
        other.join().expect("no panic");
        let lent_bytes = ledger.lender.as_ref().map_or(0, Lender::lent_bytes);
        assert_eq!(lent_bytes, account.lent_bytes.load(Ordering::SeqCst));
        assert_eq!(ledger.held_bytes(), 0);
        drop(ledger);
        assert_eq!(account.lent_bytes.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn what_is_lent_always_covers_what_is_held() {
    race(1000, [3, 5]);
}

#[test]
fn what_is_lent_covers_what_is_held_where_there_is_too_little_for_both() {
    race(6, [3, 5]);
}

#[test]
fn claims_on_a_quota_race_and_never_pass_it() {
    exhaust(|| {
        let group = Group::new("tenant").quota_bytes(5);
        let other = {
            let group = group.clone();
            thread::spawn(move || group.claim(3).is_ok())
        };
        let mine = group.claim(3);
        assert!(group.stats().logical_bytes <= 5);
        let got = mine.is_ok();
        drop(mine);
        let others = other.join().expect("no panic");
        assert!(got || others);
        assert_eq!(group.stats().logical_bytes + group.stats().live_handles, 0);
    });
}
