//! Columns, ages and counts as people read them.

/// Rows under a heading, columns padded to their widest cell; the last column is left ragged.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn print(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Seconds as `42s`, `12m03s`, `7h30m`, `3d04h`.
pub(super) fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// The same, or a dash.
pub(super) fn maybe_age(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), age)
}

/// Octets as `512 B`, `1.5 KB`, `20.3 MB`.
pub(super) fn octets(count: u64) -> String {
    let mut unit = 1_u64;
    for name in ["B", "KB", "MB", "GB", "TB"] {
        if count < unit.saturating_mul(1000) || name == "TB" {
            let tenths = count.saturating_mul(10) / unit;
            return if unit == 1 {
                format!("{count} B")
            } else {
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            };
        }
        unit = unit.saturating_mul(1000);
    }
    String::new()
}

/// Text or a dash.
pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// What the peer said, without its control characters.
pub(super) fn sanitised(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_keep_two_units() {
        let got: Vec<_> = [0, 59, 60, 3_599, 3_600, 27_000, 86_400, 273_600].map(age).to_vec();
        assert_eq!(got, ["0s", "59s", "1m00s", "59m59s", "1h00m", "7h30m", "1d00h", "3d04h"]);
    }

    #[test]
    fn octets_keep_one_decimal() {
        assert_eq!(
            [999, 1_500, 20_300_000, 2_000_000_000_000_000].map(octets),
            ["999 B", "1.5 KB", "20.3 MB", "2000.0 TB"]
        );
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let mut table = Table::new(&["a", "long heading", "c"]);
        table.row(vec!["wide cell".into(), "x".into(), String::new()]);
        assert_eq!(table.print(), "a          long heading  c\nwide cell  x\n");
    }
}
