//! The matrix as text.

use super::{Matrix, Row};
use crate::report::Table;

const BEGIN: &str = "<!-- made by `make faults`, do not edit -->";
const END: &str = "<!-- end of the matrix -->";

/// For the terminal.
pub(super) fn line(row: &Row) -> String {
    let Row { fault, promise, measured, .. } = row;
    format!("  {:<6} {fault}\n         promised: {promise}\n         measured: {measured}", verdict(row))
}

pub(super) fn markdown(matrix: &Matrix) -> String {
    let mut text = format!("{} `make faults`, {} s.\n", machine(), matrix.took_s);
    for (title, rows) in &matrix.sections {
        text += &format!("\n### {title}\n\n{}", table(rows).markdown());
    }
    text
}

fn table(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        let Row { fault, promise, measured, .. } = row.clone();
        vec![fault, promise, measured, verdict(row).to_owned()]
    };
    Table::of_text(&["fault", "promised", "measured", ""]).with_rows(rows.iter().map(cells))
}

/// The page with this matrix in place of the one that it has.
pub(super) fn put_into(page: &str, matrix: &str) -> String {
    match (page.split_once(BEGIN), page.split_once(END)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{BEGIN}\n{matrix}\n{END}{after}"),
        _ => format!("{page}\n{BEGIN}\n{matrix}\n{END}\n"),
    }
}

fn verdict(row: &Row) -> &'static str {
    if row.kept { "kept" } else { "BROKEN" }
}

fn machine() -> String {
    use crate::binaries::Part;
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let version = |part: Part| part.version().unwrap_or_else(|| "of unknown version".to_owned());
    format!("{cores} cores, Envoy {}, Redis {}.", version(Part::Envoy), version(Part::Redis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_replaced_and_what_stands_around_it_stays() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = put_into(&page, "new");
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(put_into(&new, "new"), new);
    }

    #[test]
    fn a_broken_promise_is_told_as_one() {
        let row = Row::new("f").promised("p").measured("m").kept_if(false);
        assert!(line(&row).contains("BROKEN"));
        let matrix = Matrix { sections: vec![("t", vec![row])], took_s: 1 };
        assert!(markdown(&matrix).contains("| f | p | m | BROKEN |"));
        assert_eq!((matrix.rows(), matrix.broken()), (1, 1));
    }
}
