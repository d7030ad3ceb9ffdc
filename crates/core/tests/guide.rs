//! The guide's page on spaces is true: its blocks are read, those marked `refused` are refused.

use luthier_core::space::Space;
use luthier_core::space::file::{Format, read};

const PAGE: &str = include_str!("../../../docs/guide/spaces.md");

/// The blocks whose opening fence says `language`.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let after = PAGE.split(opening.as_str()).skip(1);
    after.map(|rest| rest.split("```").next().expect("text before the closing fence")).collect()
}

fn spaces(language: &str, format: Format) -> Vec<Space> {
    let read = |text: &&str| read(text, format).unwrap_or_else(|error| panic!("{error}\n\n{text}"));
    blocks(language).iter().map(read).collect()
}

#[test]
fn every_block_is_a_space() {
    let toml = spaces("toml", Format::Toml);
    assert_eq!(toml.len(), 6);
    for space in &toml {
        let points = (0..20).map(|i| space.from_unit(&vec![(f64::from(i) * 0.618).fract(); space.len()]));
        assert!(points.into_iter().any(|point| space.allows(&point.0)), "{space:?}");
    }
    assert_eq!(spaces("json", Format::Json), toml[..1], "the JSON block says the same as the first one");
}

#[test]
fn refused_blocks_are_refused_with_the_message_shown() {
    let refused = blocks("toml refused");
    let errors: Vec<String> = refused
        .iter()
        .map(|text| read(text, Format::Toml).expect_err("a bad space").in_file("space.toml").to_string())
        .collect();
    assert_eq!(blocks("text"), [format!("{}\n", errors[0])]);
    assert!(errors[1].contains("the condition can never hold"), "{}", errors[1]);
}
