//! The graph of every variant, as text under tests/snapshots. After a change that is meant, write them anew with
//! `INSTA_UPDATE=always cargo test --release --test snapshots`.

use cnnzoo::families::{Options, variants};

#[test]
fn every_variant_draws_what_it_drew_before() {
    let settings = {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings
    };
    settings.bind(|| {
        for variant in variants() {
            for (position, edition) in variant.editions.iter().enumerate() {
                let graph = variant.graph(edition, &Options::default()).unwrap();
                // Several sources may use one name.
                let name = match position {
                    0 => edition.source_name.to_owned(),
                    _ => format!("{}-{}", edition.source, edition.source_name),
                };
                insta::assert_snapshot!(name, graph.to_string());
            }
        }
    });
}
