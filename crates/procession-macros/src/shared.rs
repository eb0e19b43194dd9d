//! `#[derive(Shared)]`: fixed layout and `Shared` fields, checked by the compiler field by field.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Result, parse_quote, parse2};

pub(crate) fn derive(item: TokenStream) -> Result<TokenStream> {
    let mut input: DeriveInput = parse2(item)?;
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "Shared can be derived for structs only: an enum's or union's bytes are not all valid",
        ));
    };
    if !has_fixed_layout(&input.attrs)? {
        return Err(Error::new_spanned(
            &input.ident,
            "Shared needs a layout that is the same in every process: add #[repr(C)]",
        ));
    }

    let types: Vec<_> = data.fields.iter().map(|field| field.ty.clone()).collect();
    let clause = input.generics.make_where_clause();
    for ty in &types {
        clause
            .predicates
            .push(parse_quote!(#ty: ::procession::Shared));
    }
    let name = &input.ident;
    let (impl_generics, type_generics, clause) = input.generics.split_for_impl();

    Ok(quote! {
        // SAFETY: the layout is fixed by the repr, and every field is Shared.
        unsafe impl #impl_generics ::procession::Shared for #name #type_generics #clause {}
    })
}

fn has_fixed_layout(attributes: &[Attribute]) -> Result<bool> {
    let mut fixed = false;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            fixed |= meta.path.is_ident("C") || meta.path.is_ident("transparent");
            if meta.input.peek(syn::token::Paren) {
                let content;
                syn::parenthesized!(content in meta.input);
                content.parse::<TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(fixed)
}
