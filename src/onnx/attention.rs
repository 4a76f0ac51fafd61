//! Attention.

use super::network::Attribute;
use super::site::Site;
use crate::graph::Shape;
use crate::graph::op::{Attention, MultiQueryAttention};

/// From this version on attention is one operator.
const ATTENTION: usize = 23;

/// (N, T, 3·D) → (N, T, D).
pub(super) fn attention(site: &mut Site<'_, '_>, op: &Attention) -> String {
    let (heads, width) = (op.heads as i64, site.shape.channels() as i64);
    let sizes = site.integers("widths", vec![width; 3]);
    let parts = ["queries", "keys", "values"].map(|part| format!("{}/{part}", site.name()));
    let split = format!("{}/split", site.name());
    let x = site.x();
    let last = vec![("axis", Attribute::Integer(-1))];
    site.draft.node(split, "Split", [x, sizes], &parts, last);
    if site.opset() >= ATTENTION {
        let number = |name| (name, Attribute::Integer(heads));
        return site.last("Attention", parts, ["q_num_heads", "kv_num_heads"].map(number).to_vec());
    }
    let [queries, keys, values] = parts;
    let mut by_head = |step: &str, x: String, axes: &[i64]| {
        let heads = site.reshape(&format!("{step}_heads"), x, vec![0, 0, heads, width / heads]);
        site.transpose(&format!("{step}_by_head"), heads, axes)
    };
    let queries = by_head("queries", queries, &[0, 2, 1, 3]);
    let keys = by_head("keys", keys, &[0, 2, 3, 1]);
    let values = by_head("values", values, &[0, 2, 1, 3]);
    let mixed = mix(site, queries, keys, values, width / heads);
    let mixed = site.transpose("mixed_by_token", mixed, &[0, 2, 1, 3]);
    let sizes = site.integers("sizes", vec![0, 0, width]);
    site.last("Reshape", [mixed, sizes], Vec::new())
}

/// (N, heads·D, H, W), (N, D, h, w), (N, V, h, w) → (N, heads·V, H, W). All heads share keys and values, of which there
/// is one, and so are broadcast.
pub(super) fn multi_query_attention(site: &mut Site<'_, '_>, op: &MultiQueryAttention) -> String {
    let heads = op.heads as i64;
    let [queries, keys, values] = [0, 1, 2].map(|at: usize| site.inputs[at].clone());
    let (depth, out) = (keys.shape.channels() as i64, values.shape.channels() as i64);
    let q = site.reshape("queries", queries.name.clone(), vec![0, heads, depth, -1]);
    let q = site.transpose("queries_by_pixel", q, &[0, 1, 3, 2]);
    let k = site.reshape("keys", keys.name, vec![0, 1, depth, -1]);
    let v = site.reshape("values", values.name, vec![0, 1, out, -1]);
    let v = site.transpose("values_by_pixel", v, &[0, 1, 3, 2]);
    let mixed = mix(site, q, k, v, depth);
    let mixed = site.transpose("mixed_by_channel", mixed, &[0, 1, 3, 2]);
    let sizes = match site.shape {
        Shape::Image { height, width, .. } if !queries.free => {
            site.integers("sizes", vec![0, heads * out, height as i64, width as i64])
        }
        _ => {
            let first = site.integers("channels", vec![0, heads * out]);
            let last = vec![("start", Attribute::Integer(2))];
            let sides = site.step("sides", "Shape", [queries.name], last);
            let axis = vec![("axis", Attribute::Integer(0))];
            site.step("sizes", "Concat", [first, sides], axis)
        }
    };
    site.last("Reshape", [mixed, sizes], Vec::new())
}

/// softmax(q · k / √depth) · v, for q (…, T, D), k (…, D, t) and v (…, t, V).
fn mix(site: &mut Site<'_, '_>, q: String, k: String, v: String, depth: i64) -> String {
    let scale = site.float("scale", 1.0 / (depth as f64).sqrt());
    let scaled = site.step("scaled", "Mul", [q, scale], Vec::new());
    let scores = site.step("scores", "MatMul", [scaled, k], Vec::new());
    let last = vec![("axis", Attribute::Integer(-1))];
    let weights = site.step("weights", "Softmax", [scores], last);
    site.step("mixed", "MatMul", [weights, v], Vec::new())
}
