//! What a connector asks for, before somebody decides.

use tidegate_model::{WorkOrder, short_digest, tame};
use tidegate_permission::Review;

use super::{Paint, wrap};

pub fn request(order: &WorkOrder, review: &Review, paint: Paint) -> String {
    let component = &order.component;
    let name = format!("{} {}", component.name, component.version);
    let mut text = format!(
        "{} ({}) asks for the pipeline `{}` to\n\n",
        paint.bold(&tame(&name)),
        short_digest(&component.digest),
        order.pipeline,
    );
    for sentence in review.in_words() {
        text.push_str(&format!("  - {}\n", wrap(&tame(&sentence), 76, "    ")));
    }
    text.push_str("\nIt runs in a sandbox and reaches nothing else.\n");
    if let Some(change) = review.change() {
        text.push_str(&format!("{} {change}\n", paint.yellow("note")));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_model::{ComponentRef, Limits, Manifest, PipelineName, RunId, Task};
    use tidegate_permission::{Ceiling, Grants};

    use super::*;

    #[test]
    fn a_request_is_told_with_the_reasons_of_its_author() {
        let manifest: Manifest = serde_json::from_value(json!({
            "contract": "0.3", "name": "files", "version": "0.1.0", "world": "extractor",
            "capabilities": [
                { "id": "source", "kind": "files", "target": "{config.location}", "required": true,
                  "reason": "reads the files you point it at" },
                { "id": "kernels", "kind": "decode",
                  "reason": "decodes files natively, so that their bytes never enter the connector" },
            ],
        }))
        .unwrap();
        let order = WorkOrder {
            run: RunId::new("r").unwrap(),
            began: std::time::Duration::ZERO,
            pipeline: PipelineName::new("flights").unwrap(),
            component: ComponentRef {
                name: "files".into(),
                version: manifest.version.clone(),
                digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
                path: "files.wasm".into(),
                publisher: None,
            },
            config: json!({ "location": "./data" }),
            secrets: std::collections::BTreeMap::new(),
            document: None,
            permissions: Vec::new(),
            grants: None,
            ceiling: Default::default(),
            on_behalf_of: None,
            rehearsal: false,
            trace: None,
            columns: std::collections::BTreeMap::new(),
            source: Vec::new(),
            limits: Limits::default(),
            base: "/".into(),
            data_dir: "/".into(),
            task: Task::Check,
        };
        let review = Review::of(
            &manifest,
            &order.component,
            &order.pipeline,
            &order.config,
            &order.secrets,
            &Grants::none(),
            &Ceiling::developer().unwrap(),
        )
        .unwrap();
        assert_eq!(
            request(&order, &review, Paint::PLAIN),
            "\
files 0.1.0 (sha256:0123456789ab) asks for the pipeline `flights` to

  - read files below ./data: reads the files you point it at (`source`,
    required)
  - use the host's decoders: decodes files natively, so that their bytes never
    enter the connector (`kernels`, optional)

It runs in a sandbox and reaches nothing else.

"
        );
    }
}
