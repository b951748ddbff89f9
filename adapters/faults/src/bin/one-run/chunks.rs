//! Updates arranged in two epochs, whose batches are merged, and read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::ensure;
use pager_differential::{Settings, Spill};

use crate::dataflow::{Arrangement, Kind, digest, mix};
use crate::{Args, End, Ended};

const UPDATES: u64 = 20_000;
const EPOCHS: u64 = 4;

pub(super) fn run<K: Kind>(args: &Args) -> anyhow::Result<Ended> {
    let pager = super::pager(args, [0, 512 << 10, 2 << 20])?;
    let injection = super::begin(args);
    // The worker is this thread.
    let spill = Spill::install(Arc::clone(&pager), Settings::default());
    let ended = catch_unwind(AssertUnwindSafe(arrange::<K>));
    let struck = injection.struck();
    injection.heal();
    let end = match ended {
        Ok(found) => {
            ensure!(found == wanted(), "the trace holds something else");
            End::Whole
        }
        Err(_) => match spill.failure() {
            Some(failure) => End::Told(failure.cause().to_string()),
            None => anyhow::bail!("a worker failed and does not say why"),
        },
    };
    drop(spill);
    let handles = pager.stats().total.live_handles;
    ensure!(handles == 0, "{handles} handles are left");
    Ok(Ended { struck, end })
}

fn update(epoch: u64, index: u64) -> (u64, u64, u64, i64) {
    (mix(EPOCHS * index + epoch), index % 3, epoch, 1)
}

fn arrange<K: Kind>() -> (u64, u64) {
    timely::execute_directly(|worker| {
        let mut arrangement = Arrangement::<K>::new(worker);
        for epoch in 0..EPOCHS {
            arrangement.arrange(epoch, (0..UPDATES).map(|index| update(epoch, index)));
        }
        arrangement.close().read()
    })
}

fn wanted() -> (u64, u64) {
    let all = (0..EPOCHS).flat_map(|epoch| (0..UPDATES).map(move |index| update(epoch, index)));
    let sum = all.fold(0u64, |sum, (key, value, time, diff)| {
        sum.wrapping_add(digest(key, value, time, diff))
    });
    (sum, EPOCHS * UPDATES)
}
