//! The sources' names for the layers.

/// A source's naming scheme; names in a block are relative to its path.
pub(super) struct Names {
    pub class_token: &'static str,
    pub positions: &'static str,
    /// Whether the position embeddings come before the patch embedding in a state dict.
    pub positions_come_first: bool,
    pub patches: &'static str,
    pub tokens: &'static str,
    pub concat: &'static str,
    pub add: &'static str,
    pub position_drop: &'static str,
    /// The path of a block, up to its number.
    pub block: &'static str,
    pub norms: [&'static str; 2],
    pub qkv: &'static str,
    /// The beginning of the names of its arrays, if not the usual one.
    pub qkv_arrays: Option<&'static str>,
    pub attention: &'static str,
    pub attention_out: &'static str,
    pub attention_drop: &'static str,
    /// Linear, activation, dropout, linear, dropout.
    pub mlp: [&'static str; 5],
    pub norm: &'static str,
    pub head: &'static str,
}

pub(super) const TORCHVISION: Names = Names {
    class_token: "class_token",
    positions: "encoder.pos_embedding",
    positions_come_first: false,
    patches: "conv_proj",
    tokens: "permute",
    concat: "cat",
    add: "encoder.add",
    position_drop: "encoder.dropout",
    block: "encoder.layers.encoder_layer_",
    norms: ["ln_1", "ln_2"],
    qkv: "self_attention.in_proj",
    qkv_arrays: Some("self_attention.in_proj_"),
    attention: "self_attention.scaled_dot_product_attention",
    attention_out: "self_attention.out_proj",
    attention_drop: "dropout",
    mlp: ["mlp.0", "mlp.1", "mlp.2", "mlp.3", "mlp.4"],
    norm: "encoder.ln",
    head: "heads.head",
};

pub(super) const TIMM: Names = Names {
    class_token: "cls_token",
    positions: "pos_embed",
    positions_come_first: true,
    patches: "patch_embed.proj",
    tokens: "patch_embed.transpose",
    concat: "cat",
    add: "add",
    position_drop: "pos_drop",
    block: "blocks.",
    norms: ["norm1", "norm2"],
    qkv: "attn.qkv",
    qkv_arrays: None,
    attention: "attn.scaled_dot_product_attention",
    attention_out: "attn.proj",
    attention_drop: "attn.proj_drop",
    mlp: ["mlp.fc1", "mlp.act", "mlp.drop1", "mlp.fc2", "mlp.drop2"],
    norm: "norm",
    head: "head",
};
