"""Write a tiny Llama with random weights: run by `.venv-services`.

Usage: python llama_model.py FILE
It talks short nonsense, but in every other way it is a model: it has a vocabulary (each printable
byte, common words, the marks of a turn), a chat template with tools and reasoning, and weights of
a fixed seed.
"""

import sys
from collections.abc import Iterator

import gguf
import numpy as np

CONTEXT = 4096
WIDTH = 64
HIDDEN = 128
HEADS = 4
LAYERS = 2
BIAS, OFFERED, BEGUN, RESERVED = 0, 1, 2, 3
LOUD = 4.0
NEVER = -10.0
SOON = 0.5
SPACE = "\u2581"
CALL = "<tool_call>\n"
WORDS = "the of and to in a is it you that he was for on are with as his they at be this have from"
ROLES = ["<|user|>", "<|assistant|>", "<|system|>", "<|tool|>", "<|tools|>", "<|end|>"]
CONTROL = ["<unk>", "<s>", "</s>", *ROLES]
TEMPLATE = """
{%- if tools %}<|system|>Tools:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
Call one so: <tool_call>
{"name": "a name", "arguments": {}}
</tool_call><|end|>
{%- endif %}
{%- for m in messages %}<|{{ m.role }}|>
{%- if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}
{%- if m.content %}{{ m.content }}{% endif %}
{%- if m.tool_calls %}
{%- for call in m.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}
{%- endif %}<|end|>
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>
{%- if tools and messages[-1].role != "tool" %}<|tools|>{% endif %}
{%- endif %}"""


def vocabulary() -> tuple[list[str], list[float], list[int]]:
    """Tokens, their scores and their kinds, in the order of their numbers."""
    kinds = gguf.TokenType
    tokens = list(CONTROL)
    types = [int(kinds.UNKNOWN)] + [int(kinds.CONTROL)] * (len(CONTROL) - 1)
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    types += [int(kinds.BYTE)] * 256
    plain = (
        [CALL, SPACE] + [chr(code) for code in range(33, 127)] + [SPACE + w for w in WORDS.split()]
    )
    tokens += plain
    types += [int(kinds.NORMAL)] * len(plain)
    return tokens, [-float(number) for number in range(len(tokens))], types


def weights(tokens: list[str], types: list[int]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of each tensor: noise, but for three dimensions to which no layer adds.

    BIAS is the same for each token, so the weight of an output for it is how often it comes: marks
    and raw bytes all but never, the end soon. OFFERED is loud for the mark of offered tools only,
    after which a call comes; BEGUN for the mark of an answer, which then is not empty.
    """
    random = np.random.default_rng(7)

    def noise(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.1).astype(np.float32)

    end, call = tokens.index("<|end|>"), tokens.index(CALL)
    embedding, output = noise(len(tokens), WIDTH), noise(len(tokens), WIDTH)
    embedding[:, :RESERVED] = output[:, :RESERVED] = 0.0
    embedding[:, BIAS] = LOUD
    embedding[tokens.index("<|tools|>"), OFFERED] = LOUD
    embedding[tokens.index("<|assistant|>"), BEGUN] = LOUD
    output[[kind != gguf.TokenType.NORMAL for kind in types], BIAS] = NEVER
    output[end, [BIAS, OFFERED, BEGUN]] = SOON, NEVER, NEVER
    output[call, [BIAS, OFFERED]] = NEVER, -2 * NEVER
    yield "token_embd.weight", embedding
    yield "output.weight", output
    yield "output_norm.weight", np.ones(WIDTH, np.float32)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for part in ("attn_norm", "ffn_norm"):
            yield f"{block}.{part}.weight", np.ones(WIDTH, np.float32)
        for part in ("attn_q", "attn_k", "attn_v"):
            yield f"{block}.{part}.weight", noise(WIDTH, WIDTH)
        for part in ("ffn_gate", "ffn_up"):
            yield f"{block}.{part}.weight", noise(HIDDEN, WIDTH)
        for part, width in (("attn_output", WIDTH), ("ffn_down", HIDDEN)):
            added = noise(WIDTH, width)
            added[:RESERVED] = 0.0
            yield f"{block}.{part}.weight", added


def write(path: str) -> None:
    """Write the model into a file of the GGUF format."""
    tokens, scores, types = vocabulary()
    file = gguf.GGUFWriter(path, "llama")
    file.add_name("tiny")
    file.add_context_length(CONTEXT)
    file.add_embedding_length(WIDTH)
    file.add_block_count(LAYERS)
    file.add_feed_forward_length(HIDDEN)
    file.add_head_count(HEADS)
    file.add_head_count_kv(HEADS)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_vocab_size(len(tokens))
    file.add_file_type(gguf.LlamaFileType.ALL_F32)
    file.add_tokenizer_model("llama")
    file.add_token_list(tokens)
    file.add_token_scores(scores)
    file.add_token_types(types)
    file.add_bos_token_id(1)
    file.add_eos_token_id(CONTROL.index("<|end|>"))
    file.add_unk_token_id(0)
    file.add_add_bos_token(True)
    file.add_chat_template(TEMPLATE)
    for name, values in weights(tokens, types):
        file.add_tensor(name, values)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


if __name__ == "__main__":
    write(sys.argv[1])
