//! Rows and columns, for terminals and for Markdown.

/// A head, and rows with as many cells.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

// === impl Table ===

impl Table {
    /// A table in which every column is text.
    pub(crate) fn of_text(heads: &[&'static str]) -> Table {
        Table { columns: heads.iter().map(|head| (*head, Align::Left)).collect(), rows: Vec::new() }
    }

    /// A table whose first column is text, and whose other columns are numbers.
    pub(crate) fn of_numbers(heads: &[&'static str]) -> Table {
        let align = |column| if column == 0 { Align::Left } else { Align::Right };
        let columns = heads.iter().enumerate().map(|(column, head)| (*head, align(column))).collect();
        Table { columns, rows: Vec::new() }
    }

    pub(crate) fn with_rows(mut self, rows: impl IntoIterator<Item = Vec<String>>) -> Table {
        self.rows.extend(rows);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For a terminal: indented, and as narrow as its content.
    pub(crate) fn text(&self) -> String {
        self.lines().map(|line| line + "\n").collect()
    }

    /// The lines of [`Table::text`]: the head, then one line for each row.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let head = self.columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        let lines: Vec<Vec<String>> = std::iter::once(head).chain(self.rows.iter().cloned()).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        lines.into_iter().map(move |line| {
            let cells = line.iter().zip(&widths).zip(&self.columns);
            let cells = cells.map(|((cell, width), (_, align))| match align {
                Align::Left => format!("  {cell:<width$}"),
                Align::Right => format!("  {cell:>width$}"),
            });
            cells.collect::<String>().trim_end().to_owned()
        })
    }

    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = |(_, align): &(&str, Align)| match align {
            Align::Left => "---",
            Align::Right => "---:",
        };
        let mut text = line(&mut self.columns.iter().map(|(head, _)| *head));
        text.push_str(&line(&mut self.columns.iter().map(rule)));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        Table::of_numbers(&["name", "count"]).with_rows([row(["a|b", "1"]), row(["µ", "1,000,000"])])
    }

    #[test]
    fn text_stands_left_and_numbers_stand_right() {
        assert_eq!(table().text(), "  name      count\n  a|b           1\n  µ     1,000,000\n");
    }

    #[test]
    fn a_bar_in_a_cell_does_not_end_the_cell() {
        let page = "| name | count |\n| --- | ---: |\n| a\\|b | 1 |\n| µ | 1,000,000 |\n";
        assert_eq!(table().markdown(), page);
    }

    #[test]
    fn a_table_of_text_has_no_column_of_numbers() {
        assert_eq!(Table::of_text(&["a", "b"]).markdown(), "| a | b |\n| --- | --- |\n");
    }
}
