//! Fuzzes `ochre::fuzzing::socket`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ochre::fuzzing::socket(bytes));
