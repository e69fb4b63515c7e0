//! Tables as docker prints them: columns as wide as their widest cell, three blanks between them.

/// Rows under a head.
#[derive(Clone, Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with only a head.
    pub(crate) fn new(head: [&str; COLUMNS]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells);
    }

    /// The text, without a line feed at the end.
    pub(crate) fn render(&self) -> String {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &[String; COLUMNS]| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["NETWORK ID", "NAME", "DRIVER"]);
        table.row(["1b5b8be20cab".into(), "docker_gwbridge".into(), "bridge".into()]);
        table.row(["ay93svswep4z".into(), "ingress".into(), String::new()]);
        let expected = "\
NETWORK ID     NAME              DRIVER
1b5b8be20cab   docker_gwbridge   bridge
ay93svswep4z   ingress";
        assert_eq!(table.render(), expected);
    }
}
