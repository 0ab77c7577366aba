//! Lists as text: aligned columns under headings, and the options that select a page of one.

use clap::Args;
use vibecoin_rpc_api::limits::PAGE_MAX;
use vibecoin_rpc_api::{Arg, Cursor, CursorArg, Text as _};

use crate::error::CliError;
use crate::numbers::whole;
use crate::output::message;

/// A column of a table, by its heading.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Texts, aligned to the left.
    Left(&'static str),
    /// Numbers, aligned to the right.
    Right(&'static str),
}

impl Column {
    const fn heading(self) -> &'static str {
        match self {
            Self::Left(heading) | Self::Right(heading) => heading,
        }
    }
}

/// Rows of cells, with a heading for each column. Cells from a server must have been made safe to display before.
#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: [Column; N]) -> Self {
        let headings = columns.map(|column| column.heading().to_owned());
        Self {
            columns,
            rows: vec![headings],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// A line for the headings, and one for each row.
    #[must_use]
    pub fn text(&self) -> String {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &[String; N]| {
            let cells = widths.iter().zip(row).zip(&self.columns);
            let cells: Vec<String> = cells
                .map(|((width, cell), column)| match column {
                    Column::Left(_) => format!("{cell:<width$}"),
                    Column::Right(_) => format!("{cell:>width$}"),
                })
                .collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

/// The line below a page that is not the last one.
#[must_use]
pub fn more(next_cursor: Option<&str>) -> String {
    next_cursor.map_or_else(String::new, |cursor| {
        format!("more: --cursor {}\n", message(cursor))
    })
}

/// A cursor as typed.
///
/// # Errors
/// Exit 2 for a text that is none.
pub fn cursor(text: Option<&str>) -> Result<Option<CursorArg>, CliError> {
    Ok(text.map(Cursor::from_text).transpose()?.map(Arg::new))
}

/// A page of a list.
#[derive(Args, Clone, Debug, Default)]
pub struct PageArgs {
    /// Items per page, 1 to 1000
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<u32>(1..=u64::from(PAGE_MAX)))]
    pub limit: Option<u32>,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

impl PageArgs {
    /// The cursor as an RPC argument.
    ///
    /// # Errors
    /// As [`cursor`].
    pub fn cursor(&self) -> Result<Option<CursorArg>, CliError> {
        cursor(self.cursor.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_hangs_over_at_the_end() {
        let mut table = Table::new([Column::Left("a"), Column::Right("number"), Column::Left("b")]);
        for (a, number, b) in [("long", "1", ""), ("", "23", "x")] {
            table.row([a, number, b].map(str::to_owned));
        }
        assert_eq!(table.text(), "a     number  b\nlong       1\n          23  x\n");
    }

    #[test]
    fn a_page_that_is_not_the_last_names_the_next() {
        assert_eq!(more(Some("c1")), "more: --cursor c1\n");
        assert_eq!(more(None), "");
    }
}
