//! Numbers of `/proc`, read by name.

use std::fs;

/// The number behind `key` in a file of lines `key number` or `key: number`;
/// 0 where there is none.
#[must_use]
pub fn number(path: &str, key: &str) -> u64 {
    fs::read_to_string(path).map_or(0, |text| number_in(&text, key))
}

/// As [`number`], in a text at hand.
#[must_use]
pub fn number_in(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next()?.trim_end_matches(':');
        if name == key { fields.next() } else { None }
    });
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Bytes that this process has in RAM now: anonymous ones, and all.
#[must_use]
pub fn rss_bytes() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |key| number_in(&status, key) * 1024;
    (bytes("RssAnon"), bytes("VmRSS"))
}

/// The most bytes that this process ever had in RAM.
#[must_use]
pub fn peak_rss_bytes() -> u64 {
    number("/proc/self/status", "VmHWM") * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_matched_whole_and_a_missing_one_is_zero() {
        let text = "thp_swpout_fallback 7\nthp_swpout 3\nRssAnon:\t  12 kB\nbroken x\n";
        assert_eq!(number_in(text, "thp_swpout"), 3);
        assert_eq!(number_in(text, "thp_swpout_fallback"), 7);
        assert_eq!(number_in(text, "RssAnon"), 12);
        assert_eq!(number_in(text, "broken"), 0);
        assert_eq!(number_in(text, "absent"), 0);
        assert_eq!(number("/nowhere", "absent"), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_running_process_has_memory() {
        let (anon_bytes, all_bytes) = rss_bytes();
        assert!(anon_bytes > 0 && all_bytes > anon_bytes);
        assert!(peak_rss_bytes() >= anon_bytes);
    }
}
