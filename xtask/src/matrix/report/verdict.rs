//! What follows from a matrix, in words.
//!
//! Guarantees that each sentence rests on figures of the report. Refuses to recommend where
//! nothing was paged.

use super::super::journal::Ceiling;
use super::super::plan::{Backend, Preset, name};
use super::super::record::Outcome;
use super::super::summary::Summary;
use super::figures::Condition;

/// A sentence each, what matters most first.
pub(super) fn verdict(cells: &[Summary<'_>], ceilings: &[Ceiling]) -> Vec<String> {
    if cells.is_empty() {
        // Other parts of the suite were asked for.
        return Vec::new();
    }
    let conditions = Condition::all(cells);
    let Some(headline) = Condition::headline(&conditions) else {
        return vec![
            "Nothing was paged in any cell, so nothing can be said about paging: run it as root, \
             or with more data than memory."
                .to_owned(),
        ];
    };
    let mut said = vec![recommendation(headline, ceilings)];
    said.extend(why_not_swap(headline));
    said.extend(codec(headline));
    said.extend(peers(headline));
    said.extend(deaths(headline));
    said.extend(uncapped(cells));
    said
}

/// The faster backend, as it is without a codec.
fn best<'a>(condition: &Condition<'a>) -> Option<&'a Summary<'a>> {
    let through = |cell: &Summary<'_>| cell.number("through_gib_s").map_or(0.0, |v| v.median);
    let fast = condition
        .paged()
        .filter(|cell| cell.cell.preset == Some(Preset::Fast));
    fast.max_by(|a, b| through(a).total_cmp(&through(b)))
}

fn recommendation(condition: &Condition<'_>, ceilings: &[Ceiling]) -> String {
    let Some(best) = best(condition) else {
        return format!("Pager paged nothing under {}.", condition.title());
    };
    let mut text = format!(
        "On this host: {}. With {} it merges {:.2} GiB/s",
        name(&best.cell.backend),
        condition.title(),
        best.number("through_gib_s").map_or(0.0, |v| v.median),
    );
    if let Some(share) = best.share_of_ceiling(ceilings) {
        text.push_str(&format!(
            ", {:.0} % of what the device gives",
            100.0 * share.median
        ));
    }
    let seed = condition.find(best.cell.backend, Some(Preset::Seed));
    if let Some(ratio) = seed.and_then(|seed| best.ratio_to(seed)) {
        text.push_str(&format!(
            ", and {:.1} times what the published strategy does",
            ratio.median
        ));
    }
    text + "."
}

/// What is wrong with swap, or how much slower it is.
fn why_not_swap(condition: &Condition<'_>) -> Option<String> {
    let swap = condition.find(Backend::Swap, Some(Preset::Fast))?;
    if swap.runs.iter().any(|run| run.no_swap) {
        return Some("Swap is inert: the machine has none.".to_owned());
    }
    let file = condition.find(Backend::File, Some(Preset::Fast))?;
    if swap.paged_nothing() && !file.paged_nothing() {
        return Some("Swap is inert here: it paged nothing.".to_owned());
    }
    let ratio = file.ratio_to(swap)?;
    let (faster, slower, ratio) = if ratio.median >= 1.0 {
        ("File", "swap", ratio.median)
    } else {
        ("Swap", "file", 1.0 / ratio.median)
    };
    Some(format!("{faster} is {ratio:.1} times as fast as {slower}."))
}

fn codec(condition: &Condition<'_>) -> Option<String> {
    let best = best(condition)?;
    let codec = condition.find(best.cell.backend, Some(Preset::Codec))?;
    // With a codec everything may fit the budget; then it paged nothing, and that is a gain that
    // is no ratio.
    if codec.paged_nothing() {
        return Some("With the codec the data fits in memory.".to_owned());
    }
    let ratio = codec.ratio_to(best)?.median;
    let stored = codec.number("encoded.stored_bytes")?.median;
    let plain = codec.number("encoded.plain_bytes").map(|v| v.median);
    let smaller = plain.filter(|_| stored > 0.0).map(|plain| plain / stored);
    if smaller.is_some_and(|times| times < 1.05) {
        return Some("The codec finds nothing to gain in this data on this device.".to_owned());
    }
    let smaller = smaller.map_or_else(String::new, |times| {
        format!(", which makes this data {times:.1} times smaller")
    });
    Some(format!("With the codec{smaller}: {ratio:.1} times."))
}

fn peers(condition: &Condition<'_>) -> Option<String> {
    let best = best(condition)?;
    let peers = condition.cells.iter().filter(|it| it.cell.preset.is_none());
    let told: Vec<String> = peers
        .filter_map(|peer| {
            let ratio = best.ratio_to(peer)?;
            Some(format!("{:.1} times {}", ratio.median, peer.cell.label()))
        })
        .collect();
    (!told.is_empty()).then(|| format!("Without the codec it is {}.", told.join(", ")))
}

/// Who did not survive.
fn deaths(condition: &Condition<'_>) -> Vec<String> {
    let dead = condition.cells.iter().filter_map(|it| {
        let (all, good) = (it.runs.len(), it.good().count());
        let run = it.runs.iter().find(|run| run.outcome != Outcome::Ok)?;
        let why = run.notes().pop().unwrap_or_default();
        Some(format!(
            "{}: {why} in {} of {all} runs.",
            it.cell.label(),
            all - good
        ))
    });
    dead.collect()
}

fn uncapped(cells: &[Summary<'_>]) -> Option<String> {
    let mut runs = cells.iter().flat_map(|cell| &cell.runs);
    runs.any(|run| run.uncapped).then(|| {
        "No memory cap could be set here, so the peers were under no pressure: pager ran with the \
         budget that the cap would have given it."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::plan::Share;
    use super::super::super::summary::summaries;
    use super::super::figures::tests::records;
    use super::verdict;

    #[test]
    fn the_verdict_names_the_backend_the_reasons_and_the_dead() {
        let (mut records, ceilings) = records();
        let said = verdict(&summaries(&records), &ceilings).join("\n");
        for part in [
            "On this host: file. With lineitem data, memory 1/4 of the data (64 MiB), 1 thread",
            "48 % of what the device gives",
            "4.0 times what the published strategy does",
            "File is 2.0 times as fast as swap.",
            "8.0 times plain Vecs, 4.0 times tempfile",
            "lgalloc: killed by the memory cap in 3 of 3 runs.",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
        for record in &mut records {
            record.no_swap = !record.cell.backend.uses_files();
            record.uncapped = true;
        }
        let said = verdict(&summaries(&records), &ceilings).join("\n");
        assert!(
            said.contains("Swap is inert: the machine has none."),
            "{said}"
        );
        assert!(said.contains("No memory cap could be set"), "{said}");
    }

    #[test]
    fn the_codec_is_judged_by_what_it_made_of_the_data() {
        let (mut records, ceilings) = records();
        for (stored, told) in [
            (1.0, "The codec finds nothing to gain"),
            (
                0.25,
                "With the codec, which makes this data 4.0 times smaller: 2.0 times.",
            ),
        ] {
            let encoded = serde_json::json!({"plain_bytes": 1e9, "stored_bytes": stored * 1e9});
            let mut good = records.iter_mut().filter(|run| !run.merge.is_empty());
            good.by_ref().for_each(|run| {
                run.merge.insert("encoded".to_owned(), encoded.clone());
            });
            let said = verdict(&summaries(&records), &ceilings).join("\n");
            assert!(said.contains(told), "{said}");
        }
    }

    #[test]
    fn nothing_paged_is_nothing_said() {
        let (mut records, ceilings) = records();
        records.retain(|record| record.cell.cap == Share::NONE);
        let said = verdict(&summaries(&records), &ceilings);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("Nothing was paged"));
        assert!(verdict(&[], &ceilings).is_empty());
    }
}
