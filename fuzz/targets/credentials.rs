#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pinpoint_exporter_fuzz::check("credentials", input));
