"""Small randomly initialised models of Hugging Face's transformers, and what they compute.

    python models.py make DIR     writes models with their logits to DIR: how the folders beside this file were made
    python models.py logits DIR   prints the logits, as JSON, of the model in DIR for the tokens in DIR/tokens.json

Made with transformers 5.18.0, tokenizers and torch 2.13.0 on a CPU.
"""

import json
import sys
from pathlib import Path

import torch
import transformers as hf

SIZES = dict(
    vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    num_experts_per_tok=2, max_position_embeddings=32, initializer_range=0.3, bos_token_id=None, eos_token_id=None, pad_token_id=None,
)  # fmt: skip
SWITCH = dict(
    vocab_size=64, d_model=16, d_kv=6, d_ff=24, num_layers=3, num_decoder_layers=2, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1,
    num_heads=4, num_experts=4, expert_capacity=3, relative_attention_num_buckets=8, relative_attention_max_distance=12, pad_token_id=0,
    decoder_start_token_id=0, eos_token_id=None, initializer_factor=2.0,
)  # fmt: skip


def models():
    yield "mixtral", hf.MixtralForCausalLM(hf.MixtralConfig(num_local_experts=4, rope_theta=100.0, **SIZES))
    yield "olmoe", hf.OlmoeForCausalLM(hf.OlmoeConfig(num_experts=4, **SIZES))
    yield "switch", hf.SwitchTransformersForConditionalGeneration(hf.SwitchTransformersConfig(**SWITCH))


def inputs(model):
    tokens = torch.randint(2, 64, (2, 12))
    if model.config.is_encoder_decoder:
        return {"input_ids": tokens.tolist(), "decoder_input_ids": torch.randint(2, 64, (2, 7)).tolist()}
    return {"input_ids": tokens.tolist()}


def logits(model, tokens):
    with torch.no_grad():
        return model.eval()(**{name: torch.tensor(ids) for name, ids in tokens.items()}).logits


def tokenizer():
    import tokenizers as tk

    t = tk.Tokenizer(tk.models.BPE())
    t.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = tk.decoders.ByteLevel()
    text = ["Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse"]
    trainer = tk.trainers.BpeTrainer(vocab_size=64, show_progress=False, special_tokens=["<s>"])
    t.train_from_iterator(text, trainer)
    return t


def make(out):
    for seed, (name, model) in enumerate(models()):
        torch.manual_seed(seed)
        for parameter in model.parameters():  # scales of norms too, which begin at one
            parameter.data = parameter.data + 0.1 * torch.randn_like(parameter)
        model.save_pretrained(out / name)
        (out / name / "generation_config.json").unlink(missing_ok=True)
        tokens = inputs(model)
        write(out / name / "tokens.json", tokens)
        write(out / name / "logits.json", rounded(logits(model, tokens)))
    from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersAttention as A

    offsets = torch.arange(-200, 201)
    both, one = (A._relative_position_bucket(offsets, bidirectional=b).tolist() for b in (True, False))
    write(out / "switch" / "buckets.json", {"both": both, "one": one})
    t = tokenizer()
    t.save(str(out / "olmoe" / "tokenizer.json"))
    texts = ["Call me Ishmael.", "how long, precisely.", "no money  in my purse "]
    write(out / "olmoe" / "texts.json", [{"text": text, "ids": t.encode(text).ids} for text in texts])


def rounded(x):
    return [rounded(y) for y in x] if x.dim() > 0 else float(f"{x.item():.7g}")


def write(path, value):
    path.write_text(json.dumps(value) + "\n")


if __name__ == "__main__":
    torch.manual_seed(0)
    command, folder = sys.argv[1], Path(sys.argv[2])
    if command == "make":
        make(folder)
    else:
        tokens = json.loads((folder / "tokens.json").read_text())
        kind = hf.AutoModelForSeq2SeqLM if "decoder_input_ids" in tokens else hf.AutoModelForCausalLM
        model, info = kind.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"], info
        print(json.dumps(logits(model, tokens).tolist()))
