//! The contract as wit-bindgen translates it. Batches and schemas are passed borrowed: a buffer crosses the
//! boundary from where Arrow has it, without a copy inside the component.

wit_bindgen::generate!({
    world: "extractor",
    path: "../../wit",
    ownership: Borrowing { duplicate_if_necessary: true },
    pub_export_macro: true,
    export_macro_name: "export_bindings",
    generate_all,
});
