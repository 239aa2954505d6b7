//! Checks against published vectors and against independent implementations.

mod esp;
mod exchanges;
mod frames;
mod gcm_lanes;
mod hmac;
mod kex;
mod lanes;
mod modp;
mod wycheproof;

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half an octet");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The rows of a vector file: hexadecimal fields apart by spaces, comments after `#`.
fn rows<const N: usize>(file: &str) -> impl Iterator<Item = [Vec<u8>; N]> {
    file.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<Vec<u8>> = line.split(' ').map(hex).collect();
        fields.try_into().expect("fields in a row")
    })
}
