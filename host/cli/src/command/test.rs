//! `tidegate test`: the conformance suite, which every connector must pass.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tidegate_infrastructure::{DataDir, files};
use tidegate_model::{
    Answer, Code, Conformance, Document, Fault, Permission, Result, Task, WorkOrder, from_yaml, list, tame,
};

use super::Context;
use crate::consent;
use crate::plugins::{self, Plugin};
use crate::progress::Progress;
use crate::project::{absolute, data_root, folder_of};
use crate::render::{Paint, plural, wrap};
use crate::terminal::Reply;
use crate::work::{self, End};

/// Run the conformance suite on a component
#[derive(Debug, Args)]
#[command(
    long_about = "Run the conformance suite on a component.\n\n\
        For the length of the test the component is granted what it requests for the configuration given, within the \
        ceiling. Its rows are looked at and thrown away.",
    after_help = "Examples:\n  \
        tidegate test target/wasm32-wasip2/release/pages.wasm --config test.yaml\n  \
        tidegate test pages.wasm --config test.yaml --json | jq .failed"
)]
pub struct Test {
    /// The component: a file, or the name of an installed one
    #[arg(value_name = "COMPONENT.wasm")]
    component: String,

    /// Its configuration, YAML or JSON, as `extract.config` of a pipeline file would have it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Test {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let data_dir = DataDir::open(absolute(&data_root(Path::new("."), cx.data_dir()))?)?;
        let plugin = plugins::find(&self.component, &data_dir)?;
        let order = self.order(&data_dir, &plugin)?;
        let allowed: Vec<String> = order.permissions.iter().map(Permission::to_string).collect();
        if !allowed.is_empty() {
            cx.terminal.say(&format!("For this test it may use: {}\n", tame(&list(&allowed))));
        }
        let mut progress = Progress::new(cx.terminal);
        let End::Answered(Answer::Conformance(cases)) = work::carry_out(&order, |event| progress.on(event))?
        else {
            return Err(work::out_of_place());
        };
        let failed = cases.iter().filter(|case| case.failure.is_some()).count();
        let document = json!({
            "component": plugin.component,
            "passed": cases.len() - failed,
            "failed": failed,
            "cases": cases,
        });
        let text = words(&cases, cx.terminal.paint());
        Ok(Reply { exit: u8::from(failed > 0), ..Reply::new(text, document) })
    }

    fn order(&self, data_dir: &DataDir, plugin: &Plugin) -> Result<WorkOrder> {
        let component = plugin.component.clone();
        let mut order = work::order_without_pipeline(component, "conformance", data_dir, Task::Conform)?;
        if let Some(file) = &self.config {
            let document = read(file)?;
            order.config = from_yaml(&document.file, &document.text)?;
            order.document = Some(document);
            order.base = folder_of(file)?;
        }
        order.permissions =
            consent::for_a_test(plugin, &mut order).map_err(|fault| match (fault.code, &self.config) {
                (Code::BadConfig, None) => fault.help(
                    "write it into a file, such as `location: ./data`, and give that with --config FILE",
                ),
                _ => fault,
            })?;
        Ok(order)
    }
}

/// A configuration that is a file of its own.
fn read(file: &Path) -> Result<Document> {
    let text = files::read_to_string(file).map_err(|fault| {
        Fault::user(Code::BadUsage, fault.message)
            .help("write the connector's configuration into a file, and give its path with --config")
    })?;
    Ok(Document { file: file.display().to_string(), text, config: Vec::new() })
}

fn words(cases: &[Conformance], paint: Paint) -> String {
    let mut text = String::new();
    for case in cases {
        let (mark, told) = match &case.failure {
            None => (paint.green("pass"), &case.detail),
            Some(failure) => (paint.red("FAIL"), failure),
        };
        text.push_str(&format!("{mark}  {}\n", tame(&case.case)));
        if !told.is_empty() {
            text.push_str(&format!("      {}\n", wrap(&tame(told), 74, "      ")));
        }
    }
    let failed = cases.iter().filter(|case| case.failure.is_some()).count();
    let verdict = match failed {
        0 => paint.green(&format!("all {} passed", plural(cases.len() as u64, "case"))),
        _ => paint.red(&format!("{} of {} failed", failed, plural(cases.len() as u64, "case"))),
    };
    text.push_str(&format!("\n{verdict}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_read_as_a_list_with_a_verdict() {
        let case = |case: &str, failure: Option<&str>, detail: &str| Conformance {
            case: case.into(),
            failure: failure.map(str::to_owned),
            detail: detail.into(),
        };
        let mut cases = vec![case("discover", None, "3 streams"), case("spec", None, "")];
        assert_eq!(
            words(&cases, Paint::PLAIN),
            "pass  discover\n      3 streams\npass  spec\n\nall 2 cases passed\n"
        );
        cases[1].failure = Some("the schema is no JSON".into());
        assert_eq!(
            words(&cases, Paint::PLAIN),
            "pass  discover\n      3 streams\nFAIL  spec\n      the schema is no JSON\n\n1 of 2 cases failed\n"
        );
    }
}
