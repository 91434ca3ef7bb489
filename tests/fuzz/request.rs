//! Fuzzes `ochre::fuzzing::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ochre::fuzzing::request(bytes));
