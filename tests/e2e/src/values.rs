//! Values and files that several tests read and write.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::{Home, copy};

/// A number, as the interface writes it: in a string.
#[must_use]
pub fn number(value: &Value) -> u64 {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.unwrap_or_else(|| panic!("{value} is no number"))
}

/// The balance of an account of this home's chain.
#[must_use]
pub fn balance(home: &Home, who: &str) -> u64 {
    number(&home.run(&["account", "show", who]).ok()["value"]["balance"])
}

/// Path of a new file in a home that its owner alone can read.
#[must_use]
pub fn secret(home: &Home, name: &str, content: &str) -> String {
    let path = home.file(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A home with the same keys and no genesis file.
#[must_use]
pub fn without_genesis(home: &Home) -> Home {
    let bare = Home::new();
    copy(&home.file("keys"), bare.path());
    bare
}
