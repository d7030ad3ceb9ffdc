//! Settings: files, tuned values by name, ranges, and what an error says.

use luthier_nn::{Activation, InitializerKind, OptimizerKind, ParamValue, Schedule, Settings};

fn read(text: &str) -> Result<Settings, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

fn refused(name: &str, value: impl Into<ParamValue>, words: &[&str]) {
    let settings = Settings::default();
    let message = settings.clone().with_param(name, value).unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn every_name_sets_its_field() {
    let settings = Settings::default()
        .with_param("layers", 3i64)
        .and_then(|s| s.with_param("units", 10i64))
        .and_then(|s| s.with_param("units[2]", 20.0))
        .and_then(|s| s.with_param("activation", "tanh"))
        .and_then(|s| s.with_param("activation[3]", "leakyRelu"))
        .and_then(|s| s.with_param("dropout", 0.1))
        .and_then(|s| s.with_param("dropout[1]", 0.5))
        .and_then(|s| s.with_param("l1", 1e-4))
        .and_then(|s| s.with_param("l2", 0i64))
        .and_then(|s| s.with_param("optimizer", "sgd"))
        .and_then(|s| s.with_param("lr", 0.5))
        .and_then(|s| s.with_param("momentum", 0.9))
        .and_then(|s| s.with_param("nesterov", true))
        .and_then(|s| s.with_param("beta1", 0.8))
        .and_then(|s| s.with_param("beta2", 0.99))
        .and_then(|s| s.with_param("epsilon", 1e-6))
        .and_then(|s| s.with_param("batch_size", 64i64))
        .and_then(|s| s.with_param("epochs", 5i64))
        .and_then(|s| s.with_param("kernel_initializer", "glorotNormal"))
        .and_then(|s| s.with_param("schedule", "cosine"))
        .and_then(|s| s.with_param("decay_rate", 0.5))
        .unwrap();
    assert_eq!([1, 2, 3].map(|k| settings.units.at(k)), [10, 20, 10]);
    assert_eq!([1, 3].map(|k| settings.activation.at(k)), [Activation::Tanh, Activation::LeakyRelu]);
    assert_eq!([1, 2].map(|k| settings.dropout.at(k)), [0.5, 0.1]);
    assert_eq!((settings.l1.at(1), settings.l2.at(1)), (1e-4, 0.0));
    assert_eq!(settings.optimizer, OptimizerKind::Sgd);
    assert_eq!(settings.initial_learning_rate(), 0.5);
    assert_eq!((settings.momentum(), settings.nesterov), (0.9, true));
    assert_eq!((settings.beta1, settings.beta2(), settings.epsilon), (0.8, 0.99, 1e-6));
    assert_eq!((settings.batch_size, settings.epochs), (64, 5));
    assert_eq!(settings.kernel_initializer, Some(InitializerKind::GlorotNormal));
    assert_eq!((settings.schedule, settings.decay_rate), (Schedule::Cosine, 0.5));
}

/// Of a few plain values, at least one must be accepted by each name, and change that field of the file and no other.
#[test]
fn every_name_changes_the_field_of_its_name_alone() {
    let values: [ParamValue; 12] = [
        7i64.into(),
        0.25.into(),
        true.into(),
        "tanh".into(),
        "convolutional".into(),
        "batch".into(),
        "valid".into(),
        "average".into(),
        "gru".into(),
        "he_normal".into(),
        "balanced".into(),
        "exponential".into(),
    ];
    let more: [ParamValue; 4] = ["sgd".into(), "squared_error".into(), 1.5.into(), "accuracy".into()];
    let file = |settings: &Settings| serde_json::to_value(settings).unwrap();
    let before = file(&Settings::default());
    for name in Settings::names() {
        let accepted: Vec<Settings> = values
            .iter()
            .chain(&more)
            .filter_map(|value| Settings::default().with_param(name, value.clone()).ok())
            .collect();
        let changed = accepted.iter().map(file).find(|after| *after != before);
        let after = changed.unwrap_or_else(|| panic!("no value changes `{name}`"));
        let (before, after) = (before.as_object().unwrap(), after.as_object().unwrap());
        for key in after.keys() {
            assert_eq!(before.get(key) != after.get(key), key == name, "setting `{name}` touched `{key}`");
        }
    }
}

#[test]
fn the_default_learning_rate_follows_the_optimizer() {
    assert_eq!(Settings::default().initial_learning_rate(), 0.001);
    let sgd = Settings::default().with_param("optimizer", "sgd").unwrap();
    assert_eq!(sgd.initial_learning_rate(), 0.01);
}

#[test]
fn a_list_of_units_says_how_many_layers_there_are() {
    assert_eq!(read("units = [128, 64]").unwrap().hidden_layers(), 2);
    let deeper = read("units = [128, 64]\nlayers = 3").unwrap();
    assert_eq!([1, 2, 3].map(|k| deeper.units.at(k)), [128, 64, 64]);
    assert_eq!(read("layers = 0").unwrap().hidden_layers(), 0);
    assert_eq!(read("").unwrap().hidden_layers(), 1);
    let tuned = read("units = [128, 64]").unwrap().with_param("units", 8i64).unwrap();
    assert_eq!((tuned.hidden_layers(), tuned.units.at(2)), (2, 8));
}

#[test]
fn settings_survive_a_file() {
    for text in [
        "",
        "units = [3, 5]",
        "units = { all = 4, 2 = 9 }\nlayers = 2",
        "dropout = 0.25\nlearning_rate = 0.1",
    ] {
        let settings = read(text).unwrap();
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings, "{json}");
        assert_eq!(settings.resolved(), settings.resolved().resolved());
    }
}

#[test]
fn resolved_settings_do_not_depend_on_how_they_were_written() {
    let one = read("layers = 2\nunits = 8\nlearning_rate = 0.001").unwrap();
    let other = read("units = [8, 8]").unwrap();
    assert_ne!(one, other);
    assert_eq!(one.resolved(), other.resolved());
}

#[test]
fn unknown_names_are_answered_with_the_list() {
    refused("learningrate", 0.1, &["`learningrate`", "learning_rate", "batch_size", "units[1]"]);
    refused("units[0]", 3i64, &["`units[0]`"]);
    refused("units[x]", 3i64, &["`units[x]`"]);
    refused("rho[1]", 0.1, &["`rho[1]`", "`rho`"]);
    assert!(read("unit = 3").unwrap_err().contains("unknown field `unit`"));
}

#[test]
fn values_out_of_range_are_named() {
    refused("dropout", 1.0, &["`dropout`", "1", "below 1"]);
    refused("dropout[2]", -0.1, &["`dropout[2]`", "-0.1"]);
    refused("units", 0i64, &["`units`", "1 to 65,536"]);
    refused("layers", 65i64, &["`layers`", "0 to 64"]);
    refused("lr", 0.0, &["`lr`", "above 0"]);
    refused("learning_rate", f64::NAN, &["`learning_rate`", "finite"]);
    refused("l1", -1.0, &["`l1`", "at least 0"]);
    refused("momentum", 1.0, &["`momentum`", "below 1"]);
    refused("batch_size", 0i64, &["`batch_size`"]);
    refused("epochs", 0i64, &["`epochs`"]);
    refused("decay_rate", 1.5, &["`decay_rate`", "at most 1"]);
    assert!(read("dropout = 2.0").unwrap().check().is_err());
}

#[test]
fn values_of_another_type_are_named() {
    refused("layers", 1.5, &["`layers`", "whole number", "1.5"]);
    refused("layers", -1i64, &["`layers`", "-1"]);
    refused("nesterov", 1i64, &["true or false"]);
    refused("activation", "swoosh", &["`swoosh`", "leaky_relu", "softplus"]);
    refused("optimizer", 3i64, &["`optimizer`", "a name"]);
    refused("l1", "much", &["`l1`", "\"much\""]);
}

#[test]
fn a_refused_value_changes_nothing() {
    let mut settings = Settings::default();
    assert!(settings.set("dropout", 7.0).is_err());
    assert_eq!(settings, Settings::default());
}
