//! Times as people write them: `30s`, `8h`, `7h30m`, `500ms`.

use std::time::Duration;

const UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads numbers with units, the larger units first.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("'{text}' is no time (want as \"30s\", \"8h\", \"7h30m\" or \"500ms\")");
    let mut rest = text.trim();
    let mut total: u64 = 0;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        if *factor >= last {
            return Err(bad());
        }
        last = *factor;
        let part =
            number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = after;
    }
    if last == u64::MAX { Err(bad()) } else { Ok(Duration::from_millis(total)) }
}

/// The shortest text [`parse`] reads back as the same time; whole milliseconds.
pub(crate) fn show(time: Duration) -> String {
    let mut rest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in UNITS.iter().filter(|(unit, _)| *unit != "d") {
        let count = rest / factor;
        rest %= factor;
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        for (text, seconds) in [("8h", 28_800), ("7h30m", 27_000), ("150s", 150), ("1d", 86_400), ("0s", 0)] {
            let time = parse(text).unwrap();
            assert_eq!(time, Duration::from_secs(seconds));
            assert_eq!(parse(&show(time)).unwrap(), time);
        }
        assert_eq!(show(Duration::from_secs(27_000)), "7h30m");
        assert_eq!(show(parse("1h500ms").unwrap()), "1h500ms");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            " ",
            "30",
            "s",
            "30x",
            "30 s",
            "5m1h",
            "1h1h",
            "-3s",
            "1.5h",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
