//! Columns that line up, without lines between them.

use unicode_width::UnicodeWidthStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = (&'static str, Align)>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// One cell a column.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Every line starts with `indent`, none ends with a space.
    pub fn render(&self, indent: &str) -> String {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (head, _))| {
                self.rows.iter().map(|row| row[index].width()).max().unwrap_or(0).max(head.width())
            })
            .collect();
        let head: Vec<String> = self.columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        let headed = self.columns.iter().any(|(head, _)| !head.is_empty());
        let mut text = String::new();
        for cells in headed.then_some(&head).into_iter().chain(&self.rows) {
            let mut line = indent.to_owned();
            for ((cell, width), (_, align)) in cells.iter().zip(&widths).zip(&self.columns) {
                let space = " ".repeat(width.saturating_sub(cell.width()));
                match align {
                    Align::Left => line.push_str(&format!("{cell}{space}  ")),
                    Align::Right => line.push_str(&format!("{space}{cell}  ")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// At most `width` columns of a terminal, with `…` where something is missing.
pub fn clip(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut clipped = String::new();
    for character in text.chars() {
        clipped.push(character);
        if clipped.width() >= width {
            clipped.pop();
            break;
        }
    }
    clipped.push('…');
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_script() {
        let mut table = Table::new([("stream", Align::Left), ("rows", Align::Right)]);
        table.row(vec!["weather".into(), "26,115".into()]);
        table.row(vec!["天気".into(), "7".into()]);
        assert_eq!(table.render("  "), "  stream     rows\n  weather  26,115\n  天気          7\n");
    }

    #[test]
    fn long_names_are_clipped() {
        assert_eq!(clip("weather", 7), "weather");
        assert_eq!(clip("public.weather", 7), "public…");
    }
}
