//! Whatever is done to a file, it is answered and never panics.

use proptest::prelude::*;

use super::{AWS, AZURE, read};

#[test]
fn every_truncation_of_the_examples_is_answered() {
    for text in [AZURE, AWS] {
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)).step_by(3) {
            let _ = read(&text[..end]).map_err(|errors| errors.to_string());
        }
    }
}

#[test]
fn deep_nesting_is_answered() {
    for open in ["[", "{a=", "a.", "[[a."] {
        let _ = read(&format!("x = {}", open.repeat(50_000)));
        let _ = read(&open.repeat(50_000));
    }
}

/// What a person's hand, or a hostile one, puts into a file.
fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "0",
        "-1",
        "18446744073709551616",
        "\"\"",
        "\"any\"",
        "[]",
        "[[]]",
        "{}",
        "true",
        "1979-05-27",
        "nan",
        "1e9",
        "\"0.0.0.0/0\"",
        "\"::/0\"",
        "\"%\"",
        "\"\\u0000\"",
        "\"ä\"",
        "=",
        "\n",
        "[tunnel.azure]\n",
        "[bgp.neighbor.x]\n",
        "psk = { value = \"x\" }\n",
        "\"aes256-sha1-modp1024-aes256gcm16\"",
        "\"99999999999999999999h\"",
        "'",
        "\"\"\"",
    ];
    prop_oneof![
        proptest::sample::select(words.to_vec()).prop_map(ToOwned::to_owned),
        proptest::collection::vec(any::<char>(), 0..6).prop_map(|chars| chars.into_iter().collect()),
    ]
}

proptest! {
    #[test]
    fn every_mutation_of_the_examples_is_answered(
        which: bool,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..24, fragment()), 1..5),
    ) {
        let mut chars: Vec<char> = if which { AZURE } else { AWS }.chars().collect();
        for (at, removed, put) in edits {
            let start = at.index(chars.len() + 1);
            let end = (start + removed).min(chars.len());
            chars.splice(start..end, put.chars());
        }
        let text: String = chars.into_iter().collect();
        match read(&text) {
            Ok(plan) => prop_assert!(!plan.to_string().is_empty()),
            Err(errors) => {
                prop_assert!(!errors.remarks.is_empty());
                let lines = text.matches('\n').count() + 1;
                for remark in &errors.remarks {
                    prop_assert!(remark.line >= 1 && remark.line <= lines && remark.column >= 1, "{remark}");
                }
            }
        }
    }
}
