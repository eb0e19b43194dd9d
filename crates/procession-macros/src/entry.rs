//! `#[procession::main]` and `#[procession::test]`: both put the child's entry before the user's body.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, Result, parse2};

/// `#[procession::main]`: the body of `main` behind `procession::init()`.
pub(crate) fn main(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function = plain_function(arguments, item, "#[procession::main]")?;
    if function.sig.ident != "main" {
        return Err(Error::new_spanned(
            &function.sig.ident,
            "#[procession::main] belongs on the function `main`",
        ));
    }
    let ItemFn {
        attrs,
        vis,
        sig,
        block,
        ..
    } = function;
    let statements = &block.stmts;

    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            ::procession::init();
            #(#statements)*
        }
    })
}

/// `#[procession::test]`: a `#[test]` whose children enter before its body.
///
/// The path of the test is what the harness calls it: the module path without
/// the crate, which the runtime half strips.
pub(crate) fn test(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function = plain_function(arguments, item, "#[procession::test]")?;
    let ItemFn {
        attrs,
        vis,
        sig,
        block,
        ..
    } = function;
    let name = &sig.ident;
    let output = &sig.output;

    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attrs)*
        #vis fn #name() #output {
            fn body() #output #block
            ::procession::__private::run_test(
                ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)),
                body,
            )
        }
    })
}

fn plain_function(arguments: TokenStream, item: TokenStream, attribute: &str) -> Result<ItemFn> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(
            arguments,
            format!("{attribute} takes no arguments"),
        ));
    }
    let function: ItemFn = parse2(item)?;
    let sig = &function.sig;
    if let Some(asyncness) = &sig.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            format!("{attribute} takes a plain function: start the async runtime inside it"),
        ));
    }
    if !sig.inputs.is_empty() || !sig.generics.params.is_empty() {
        return Err(Error::new_spanned(
            sig,
            format!("{attribute} takes a function without parameters"),
        ));
    }
    Ok(function)
}
