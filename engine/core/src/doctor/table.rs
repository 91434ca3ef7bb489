//! The report as text for a terminal.

use super::{Report, Standing, in_words};
use crate::phase::Verdict;

/// The most characters of a line.
const WIDTH: usize = 120;

/// The heading of a column, and the most characters of its cells.
type Column = (&'static str, usize);

impl Report {
    /// Writes the report as tables, and below them what is wrong and what helps.
    pub fn table(&self) -> String {
        let mut parts =
            vec![self.backups_table(), self.claims_table(), self.locations_table(), self.schedules_table()];
        if !self.policies.is_empty() {
            parts.push(self.policies_table());
        }
        for (title, standing) in [("GAPS", Standing::Gap), ("UNKNOWN", Standing::Unknown)] {
            let found: Vec<String> = self
                .findings(standing)
                .map(|(of, finding)| {
                    let what = if of == finding.object { of } else { format!("{of}: {}", finding.object) };
                    let said = wrap(&format!("{what}: {}", finding.message), "* ", "  ");
                    format!("{said}{}", wrap(&format!("Cure: {}", finding.cure), "  ", "    "))
                })
                .collect();
            if !found.is_empty() {
                parts.push(format!("{title}\n{}", found.concat()));
            }
        }
        parts.push(wrap(&self.summary(), "", ""));
        parts.join("\n")
    }

    fn summary(&self) -> String {
        let count = |standing| self.findings(standing).count();
        match (count(Standing::Gap), count(Standing::Unknown)) {
            (0, 0) => "All is good: every claim that counts is in a good backup.".to_owned(),
            (gaps, unknown) => format!("Gaps: {gaps}. Could not be told: {unknown}."),
        }
    }

    fn backups_table(&self) -> String {
        let columns = [
            ("BACKUP", 36),
            ("VERDICT", 13),
            ("STANDING", 10),
            ("PHASE", 17),
            ("AGE", 5),
            ("ITEMS", 6),
            ("SERIES", 20),
        ];
        let rows = self.backups.iter().map(|it| {
            [
                it.name.clone(),
                verdict(it.verdict),
                it.standing.as_str().to_owned(),
                it.phase.clone(),
                age(it.age_seconds),
                it.items.map(|items| items.to_string()).unwrap_or_default(),
                it.series.clone().unwrap_or_default(),
            ]
        });
        aligned(&columns, rows)
    }

    fn claims_table(&self) -> String {
        let columns = [("CLAIM", 48), ("STANDING", 10), ("LAST GOOD BACKUP", 36), ("AGE", 5), ("BYTES", 13)];
        let rows = self.claims.iter().map(|it| {
            [
                format!("{}/{}", it.namespace, it.name),
                it.standing.as_str().to_owned(),
                it.last_good_backup.clone().unwrap_or_else(|| "-".to_owned()),
                age(it.age_seconds),
                it.bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            ]
        });
        aligned(&columns, rows)
    }

    fn locations_table(&self) -> String {
        let columns = [
            ("LOCATION", 48),
            ("STANDING", 10),
            ("PHASE", 17),
            ("CHECKED", 7),
            ("ACCESS", 9),
            ("DEFAULT", 7),
        ];
        let rows = self.locations.iter().map(|it| {
            [
                it.name.clone(),
                it.standing.as_str().to_owned(),
                it.phase.clone().unwrap_or_default(),
                age(it.age_seconds),
                if it.read_only { "ReadOnly" } else { "ReadWrite" }.to_owned(),
                if it.default { "yes" } else { "" }.to_owned(),
            ]
        });
        aligned(&columns, rows)
    }

    fn schedules_table(&self) -> String {
        let columns = [
            ("SCHEDULE", 36),
            ("STANDING", 10),
            ("CRON", 22),
            ("PHASE", 16),
            ("LAST RUN", 8),
            ("LAST VERDICT", 13),
        ];
        let rows = self.schedules.iter().map(|it| {
            let phase = if it.paused { "Paused" } else { it.phase.as_deref().unwrap_or("New") };
            [
                it.name.clone(),
                it.standing.as_str().to_owned(),
                it.schedule.clone(),
                phase.to_owned(),
                age(it.age_seconds),
                verdict(it.last_verdict),
            ]
        });
        aligned(&columns, rows)
    }

    fn policies_table(&self) -> String {
        let columns = [("ADMISSION POLICY", 16), ("INSTALLED", 9), ("WITHOUT IT", 91)];
        let rows = self.policies.iter().map(|it| {
            let installed = it.installed.map_or("-", |installed| if installed { "yes" } else { "no" });
            [it.name.to_owned(), installed.to_owned(), it.message.clone().unwrap_or_default()]
        });
        aligned(&columns, rows)
    }
}

fn verdict(verdict: Option<Verdict>) -> String {
    verdict.map_or("-", Verdict::as_str).to_owned()
}

fn age(seconds: Option<i64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), in_words)
}

/// Writes rows below headings, each column as wide as it must be.
fn aligned<const N: usize>(columns: &[Column; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let headings = columns.map(|(heading, _)| heading.to_owned());
    let mut lines: Vec<[String; N]> = vec![headings];
    for row in rows {
        let mut cells = row;
        for (cell, (_, most)) in cells.iter_mut().zip(columns) {
            *cell = cut(&plain(cell), *most);
        }
        lines.push(cells);
    }
    if lines.len() == 1 {
        lines.push(std::array::from_fn(|column| if column == 0 { "(none)" } else { "" }.to_owned()));
    }
    let widths: Vec<usize> = (0..N)
        .map(|column| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for cells in &lines {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// What the cluster says must not move the cursor of a terminal.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(char::is_control, "")
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{kept}…")
}

/// Breaks a text into lines, and words that no line can hold; the first line begins with one mark, the others with
/// another, which is at least as long.
fn wrap(text: &str, first: &str, others: &str) -> String {
    let mut wrapped = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    let most = WIDTH - others.chars().count();
    for word in plain(text).split(' ').flat_map(|word| pieces(word, most)) {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            wrapped.push_str(&line);
            wrapped.push('\n');
            line.clear();
            line.push_str(others);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(&word);
        is_empty = false;
    }
    format!("{wrapped}{line}\n")
}

/// Breaks a word into pieces of this many characters at most.
fn pieces(word: &str, most: usize) -> Vec<String> {
    word.chars().collect::<Vec<char>>().chunks(most).map(|piece| piece.iter().collect()).collect()
}
