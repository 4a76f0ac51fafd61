//! Options of a network, which Python gives as a JSON object.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::families::Options;

/// The options of the network `name` in the JSON object `options`.
pub(super) fn parse_options(name: &str, options: &str) -> Result<Options, Error> {
    let unfit = |error: &serde_json::Error| unfit(format!("options of {name}"), options, error);
    let given: Map<String, Value> = serde_json::from_str(options).map_err(|error| unfit(&error))?;
    // One by one, so that an error names the option.
    for (option, value) in &given {
        let alone = Map::from_iter([(option.clone(), value.clone())]);
        serde_json::from_value::<Options>(Value::Object(alone)).map_err(|error| {
            let known = !error.to_string().starts_with("unknown field");
            let (at, got) = if known {
                (format!("`{option}` of {name}"), value.to_string())
            } else {
                (format!("options of {name}"), format!("`{option}`"))
            };
            self::unfit(at, &got, &error)
        })?;
    }
    serde_json::from_value(Value::Object(given)).map_err(|error| unfit(&error))
}

/// The expected part of serde's "unknown variant `x`, expected one of `a`, `b`".
fn unfit(at: String, got: &str, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    let expected = text.split_once(", expected ").map_or(text, |(_, expected)| expected);
    let expected = match expected {
        "usize" => "a whole number from 0",
        "f64" => "a number",
        "a boolean" => "True or False",
        "string or map" => "a name",
        other => other,
    };
    Error::Argument { at, expected: expected.replace('`', "\""), got: got.to_owned() }
}
