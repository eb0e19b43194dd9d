//! Programs that must not compile, and what the compiler says about them.
//!
//! After a change of the messages, look at what `TRYBUILD=overwrite cargo test -p procession --test compile_fail` makes of them.

#[test]
fn mistakes_are_found_when_a_program_is_built() {
    let programs = trybuild::TestCases::new();
    // One that passes has all of them built, not only checked: that a target captures nothing is found when its code is generated.
    programs.pass("tests/compile_pass/*.rs");
    programs.compile_fail("tests/compile_fail/*.rs");
}
