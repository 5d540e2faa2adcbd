//! Medians and ranges, as tables in Markdown.

use std::collections::BTreeMap;

/// What was measured under each name, in the order in which names came.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    order: Vec<String>,
    values: BTreeMap<String, Vec<f64>>,
}

impl Samples {
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        if !self.values.contains_key(&name) {
            self.order.push(name.clone());
        }
        self.values.entry(name).or_default().push(value);
    }

    /// The median, or not a number where nothing was measured.
    pub(crate) fn median(&self, name: &str) -> f64 {
        let mut sorted = self.values.get(name).cloned().unwrap_or_default();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// The median of the ratios of two, round by round, which a machine whose speed drifts does not disturb.
    pub(crate) fn ratio(&self, of: &str, to: &str) -> String {
        let (Some(of), Some(to)) = (self.values.get(of), self.values.get(to)) else { return "-".to_owned() };
        let mut ratios = Self::default();
        of.iter().zip(to).for_each(|(of, to)| ratios.add("", of / to));
        ratios.cell("")
    }

    /// `median (least to greatest)`.
    pub(crate) fn cell(&self, name: &str) -> String {
        let Some(values) = self.values.get(name) else { return "-".to_owned() };
        let (least, greatest) =
            values.iter().fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(*v), most.max(*v)));
        format!("{} ({} to {})", short(self.median(name)), short(least), short(greatest))
    }
}

/// Three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Prints a table.
pub(crate) fn table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    crate::say(format_args!("\n### {title}\n\n| {} |", head.join(" | ")));
    crate::say(format_args!("|{}", " --- |".repeat(head.len())));
    for row in rows {
        crate::say(format_args!("| {} |", row.join(" | ")));
    }
}
