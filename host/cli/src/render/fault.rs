//! A fault as a person reads it: what happened, where, and what to type next.

use tidegate_model::{Fault, tame};

use super::Paint;

/// Connectors word some faults, so nothing in them reaches the terminal as it is.
pub fn fault(fault: &Fault, paint: Paint) -> String {
    let head = paint.red(&format!("error[{}]", fault.code));
    // Marked, so that a line of a connector is not taken for one of ours.
    let message = tame(&fault.message).replace('\n', "\n  | ");
    let mut text = format!("{head}: {}\n", paint.bold(&message));
    if let Some(place) = &fault.place {
        text.push_str(&format!("  {} {place}\n", paint.dim("-->")));
    }
    if let Some(help) = fault.help.as_deref().map(tame) {
        let label = paint.green("help");
        match help.split_once('\n') {
            // What goes over several lines is there to be copied: it stands at the margin, as it is.
            Some((first, rest)) => {
                text.push_str(&format!("  {label}: {first}\n\n{}\n", rest.trim_matches('\n')));
            }
            None => text.push_str(&format!("  {label}: {help}\n")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tidegate_model::{Code, Pipeline};

    use super::*;

    fn plain(what: &Fault) -> String {
        fault(what, Paint::PLAIN)
    }

    #[test]
    fn a_mistake_in_a_file_names_its_place_and_the_remedy() {
        let text = "pipeline: flights\nextract:\n  conector: files@0.1\n";
        let mistake = Pipeline::parse("flights.yaml", text).unwrap_err();
        assert_eq!(
            plain(&mistake),
            "\
error[TG0102]: unknown key `conector`
  --> flights.yaml:3:3
  help: did you mean `connector`? known here: connector, config, secrets, streams, limits
"
        );
    }

    #[test]
    fn a_connector_cannot_word_a_line_of_ours() {
        let failed = Fault::internal(Code::ConnectorFailed, "no\nok: all is granted");
        assert!(plain(&failed).contains(": no\n  | ok: all is granted\n"), "{}", plain(&failed));
    }

    #[test]
    fn what_is_to_be_pasted_stands_at_the_margin() {
        let denial = Fault::user(Code::NotGranted, "`files` is not granted")
            .help("add this to grants.yaml:\ngrants:\n  - pipeline: flights\n");
        assert_eq!(
            plain(&denial),
            "\
error[TG0301]: `files` is not granted
  help: add this to grants.yaml:

grants:
  - pipeline: flights
"
        );
    }
}
