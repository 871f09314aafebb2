//! Rows and columns, for terminals and for Markdown.

/// The first column is text, the others numbers.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

// === impl Table ===

impl Table {
    /// Indented, and as narrow as its content.
    pub(super) fn text(&self) -> String {
        let head = self.head.iter().map(ToString::to_string).collect();
        let lines: Vec<Vec<String>> = std::iter::once(head).chain(self.rows.iter().cloned()).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            let mut row = String::from(" ");
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let aligned =
                    if column == 0 { format!(" {cell:<width$}") } else { format!("  {cell:>width$}") };
                row.push_str(&aligned);
            }
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text
    }

    pub(super) fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = line(&mut self.head.iter().copied());
        let mut rule = (0..self.head.len()).map(|column| if column == 0 { "---" } else { "---:" });
        text.push_str(&line(&mut rule));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }
}
