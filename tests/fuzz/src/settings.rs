//! The target over the node's configuration file.

use vibecoin_config::{Sources, parse};

/// A configuration file: read, written as one line per knob, and read again.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let loaded = match Sources::new().file(text).load() {
        Ok(loaded) => loaded,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says what is wrong");
            return;
        }
    };
    let written: String = loaded
        .entries()
        .map(|(knob, value, _)| format!("{} = {value}\n", knob.key()))
        .collect();
    let again = parse(&written).unwrap_or_else(|error| panic!("own text refused: {error}\n{written}"));
    assert_eq!(again, loaded.config, "the written file says something else");
}

/// Seeds of [`config`].
pub fn config_seeds() -> Vec<(String, Vec<u8>)> {
    vec![
        ("default".to_owned(), vibecoin_config::default_text().into_bytes()),
        ("rpc".to_owned(), b"[rpc]\nport = 9000\n".to_vec()),
        ("unknown_key".to_owned(), b"[rpc]\nprot = 9000\n".to_vec()),
    ]
}
