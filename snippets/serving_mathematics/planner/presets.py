"""What a step of a model costs on a device: an engine for the simulator, from data sheets.

A step reads the weights once and every cached token of its sequences, and works 2 FLOP for each
parameter and token: W/(eβ) + c·KV/(eβ) + n·2N/(eπ). The times are added, as if reading never hid
behind arithmetic; the roofline takes the larger, so a step takes at most twice as long as one that
overlaps perfectly. e is the share of both peaks that a real engine reaches. What weights,
activations and libraries leave of the memory is cut into blocks for the cache.

Assumes: weights are stored with few bits, arithmetic stays in 16; t devices are t times one; dense
models; attention's own arithmetic is left out, which counts for prompts of ten thousand tokens.

Source: `latency_throughput_cost` for the step, `measured_roofline` for e, `caching` for the cache,
`bits_and_noise` for 4 bits with a 16-bit scale per 128 weights; records/model_configs.json and
records/devices.json.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

from serving_mathematics import checks
from serving_mathematics.capacity.kv_cache_occupancy import VLLM_BLOCKS
from serving_mathematics.intuition.latency_throughput_cost import decode_step_time
from serving_mathematics.measuring import read_record
from serving_mathematics.optimization.bits_and_noise import bits_per_weight
from serving_mathematics.optimization.caching import (
    how_many_fit,
    kv_bytes_per_token,
    latent_bytes_per_token,
)
from serving_mathematics.optimization.continuous_batching import Engine
from serving_mathematics.require import (
    require,
    require_in,
    require_non_negative,
    require_positive_integer,
)

BLOCK_TOKENS = 16  # tokens in a block of the cache, vLLM's default
RESERVED_BYTES = 4 * 2**30  # of a device: activations, libraries, driver; see `logged_reserve`


@dataclass(frozen=True)
class Model:
    """A dense decoder, as far as bytes and arithmetic depend on it. Raises ValueError on counts
    that are not positive, and on bits other than 16, 8 and 4 (weights) or 16 and 8 (cache).

    >>> eight = Model("eight", parameters=8e9, layers=32, kv_heads=8, head_dim=128, weight_bits=4)
    >>> eight.weight_bytes / 1e9, eight.token_bytes
    (4.125, 131072.0)
    """

    name: str
    parameters: float
    layers: int
    kv_heads: int
    head_dim: int
    weight_bits: int = 16
    cache_bits: int = 16
    latent_dim: int = 0
    rope_dim: int = 0

    def __post_init__(self) -> None:
        """Refuse what is not a model."""
        counted = 0 < self.parameters < math.inf
        require(counted, "parameters", "positive and finite", self.parameters)
        require(self.weight_bits in (16, 8, 4), "weight_bits", "16, 8 or 4", self.weight_bits)
        require(self.cache_bits in (16, 8), "cache_bits", "16 or 8", self.cache_bits)
        require(self.token_bytes > 0, "layers", "positive", self.layers)

    @property
    def weight_bytes(self) -> float:
        """All weights [B]; those of 4 bits share a scale of 16 among 128."""
        bits = bits_per_weight(4, [(16, 128)]) if self.weight_bits == 4 else self.weight_bits
        return self.parameters * bits / 8

    @property
    def token_bytes(self) -> float:
        """What a token adds to the cache [B]."""
        size = self.cache_bits / 8
        if self.latent_dim:
            return latent_bytes_per_token(self.layers, self.latent_dim, self.rope_dim, size)
        return kv_bytes_per_token(self.layers, self.kv_heads, self.head_dim, size)


@dataclass(frozen=True)
class Device:
    """An accelerator as its data sheet describes it. Raises ValueError on what is not positive.

    >>> Device("one", peak_flops=1e12, bandwidth=1e12, memory_bytes=0)
    Traceback (most recent call last):
    ValueError: memory_bytes must be positive and finite, got 0
    """

    name: str
    peak_flops: float  # π [FLOP/s], 16 bits, dense
    bandwidth: float  # β [B/s]
    memory_bytes: float  # [B]

    def __post_init__(self) -> None:
        """Refuse what is not a device."""
        for name in ("peak_flops", "bandwidth", "memory_bytes"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, "positive and finite", value)


def parameter_count(
    layers: int,
    hidden: int,
    query_heads: int,
    kv_heads: int,
    head_dim: int,
    ffn: int,
    vocabulary: int,
    ffn_matrices: int = 3,
    tied: bool = False,
) -> int:
    """Parameters of a dense decoder from its shape: attention, feed-forward, embeddings, norms.

    layers, hidden, query_heads, kv_heads, head_dim, ffn (inner width), vocabulary: the shape.
    ffn_matrices: 3 with a gate, else 2. tied: input and output embedding are one. Raises ValueError
    unless the counts are positive integers.

    >>> parameter_count(32, 4096, 32, 32, 128, 11008, 32000)  # Llama-2-7B
    6738415616
    """
    for name, count in (
        ("layers", layers),
        ("hidden", hidden),
        ("query_heads", query_heads),
        ("kv_heads", kv_heads),
        ("head_dim", head_dim),
        ("ffn", ffn),
        ("vocabulary", vocabulary),
        ("ffn_matrices", ffn_matrices),
    ):
        require(count >= 1 and count % 1 == 0, name, "a positive integer", count)
    attention = 2 * hidden * head_dim * (query_heads + kv_heads)
    tables = vocabulary * hidden * (1 if tied else 2)
    return layers * (attention + ffn_matrices * hidden * ffn) + tables + (2 * layers + 1) * hidden


def models() -> dict[str, Model]:
    """The dense models of the record by name, in 16 bits.

    >>> round(models()["Llama-3-8B"].parameters / 1e9, 2)
    8.03
    """
    found = {}
    for row in read_record("model_configs")["models"]:
        if row["ffn"]:
            shape = ("layers", "hidden", "query_heads", "kv_heads", "head_dim", "ffn", "vocabulary")
            sizes = {name: row[name] for name in (*shape, "ffn_matrices")}
            size = parameter_count(**sizes, tied=row["tied_embeddings"])
            found[row["model"]] = Model(
                row["model"], size, row["layers"], row["kv_heads"], row["head_dim"]
            )
    return found


def devices() -> dict[str, Device]:
    """The accelerators of the record by name.

    >>> devices()["A100-80GB"].bandwidth
    2039000000000.0
    """
    return {
        row["device"]: Device(
            row["device"], row["peak_flops"], row["bandwidth"], row["memory_bytes"]
        )
        for row in read_record("devices")["devices"]
    }


def cache_blocks(
    model: Model,
    device: Device,
    count: int = 1,
    memory_share: float = 0.9,
    reserved_bytes: float = RESERVED_BYTES,
) -> int:
    """Blocks of 16 tokens that everything else leaves room for, 0 when it leaves none.

    count: devices that a replica spans. memory_share: of their memory that the engine may use, in
    (0, 1]. reserved_bytes: what activations and libraries take of each of them [B]. Raises
    ValueError outside these ranges.

    >>> from serving_mathematics.planner.presets import devices, models
    >>> cache_blocks(models()["Llama-3-8B"], devices()["A100-80GB"])
    27157
    """
    spare = _usable_bytes(device, count, memory_share, reserved_bytes) - model.weight_bytes
    return how_many_fit(max(spare, 0.0), BLOCK_TOKENS * model.token_bytes)


def _usable_bytes(device: Device, count: int, memory_share: float, reserved_bytes: float) -> float:
    """For weights and cache together [B]."""
    require_positive_integer(count=count)
    require_in("(0, 1]", memory_share=memory_share)
    require_non_negative(reserved_bytes=reserved_bytes)
    return count * (memory_share * device.memory_bytes - reserved_bytes)


def engine_of(
    model: Model,
    device: Device,
    count: int = 1,
    efficiency: float = 0.7,
    memory_share: float = 0.9,
    token_budget: int = 512,
    places: int = 256,
    reserved_bytes: float = RESERVED_BYTES,
) -> Engine:
    """The simulator's engine for a model on a device.

    count: devices that a replica spans. efficiency: e in (0, 1]. memory_share, reserved_bytes: as
    for cache_blocks. token_budget: tokens in a step at most. places: sequences at most. Raises
    ValueError outside these ranges, and when the weights leave no block.

    >>> from serving_mathematics.planner.presets import devices, models
    >>> engine = engine_of(models()["Llama-3-8B"], devices()["A100-80GB"])
    >>> round(1000 * engine.step_s, 2), round(1e6 * engine.prefill_token_s, 1)
    (11.25, 73.5)
    """
    require_in("(0, 1]", efficiency=efficiency)
    require_positive_integer(places=places)
    blocks = cache_blocks(model, device, count, memory_share, reserved_bytes)
    usable = max(0.0, _usable_bytes(device, count, memory_share, reserved_bytes))
    weights = f"smaller than the {usable / 1e9:.1f} GB that {device.name} × {count} offer"
    require(blocks > 0, "model weights", weights, f"{model.weight_bytes / 1e9:.1f} GB")
    read_s = 1 / (efficiency * count * device.bandwidth)
    token_s = 2 * model.parameters / (efficiency * count * device.peak_flops)
    return Engine(
        step_s=model.weight_bytes * read_s,
        prefill_token_s=token_s,
        decode_token_s=token_s,
        context_token_s=model.token_bytes * read_s,
        kv_blocks=blocks,
        block_tokens=BLOCK_TOKENS,
        token_budget=token_budget,
        max_sequences=places,
    )


def coarser(model: Model) -> Model | None:
    """The next step of quantization: weights to 8 bits, to 4, then the cache to 8; None after that.

    >>> from serving_mathematics.planner.presets import devices, models
    >>> coarser(models()["Llama-3-8B"]).weight_bits
    8
    """
    if model.weight_bits > 4:
        return replace(model, weight_bits=model.weight_bits // 2)
    return replace(model, cache_bits=8) if model.cache_bits > 8 else None


KV_LOGGED = (  # blocks of 16 tokens that vLLM found room for with 0.9 of the memory
    ("Llama-2-7B", "A100-80GB", 1, 7351, "vllm-2031"),
    ("Llama-2-70B", "A100-80GB", 4, 20_865, "vllm-2031"),
    ("Llama-3-8B", "A100-40GB", 1, VLLM_BLOCKS, "vllm-12330"),
    ("Llama-3-8B", "A100-80GB", 1, int(53.29 * 2**30 // (16 * 131_072)), "vllm-10511"),
    ("Llama-3-8B", "L40S-48GB", 1, 158_656 // 16, "vllm-17122"),
)


def logged_reserve(model: Model, device: Device, count: int, blocks: int) -> float:
    """What an engine's log says of memory that is neither weights nor cache, of each device [B].

    count: devices of the replica. blocks: of 16 tokens, as logged with 0.9 of the memory. Raises
    ValueError when weights and blocks are more than that.

    >>> from serving_mathematics.planner.presets import devices, models
    >>> eight, device = models()["Llama-3-8B"], devices()["A100-80GB"]
    >>> round(logged_reserve(eight, device, 1, blocks=27_284) / 2**30, 2)
    3.75
    """
    require_non_negative(blocks=blocks)
    taken = model.weight_bytes + blocks * BLOCK_TOKENS * model.token_bytes
    spare = _usable_bytes(device, count, 0.9, 0.0) - taken
    require(spare >= 0, "blocks", "no more than fit beside the weights", blocks)
    return spare / count


def _logged_device(name: str) -> Device:
    half = replace(devices()["A100-80GB"], memory_bytes=40 * 2**30)
    return devices().get(name, half)


def _logged_row(name: str, device: str, count: int, logged: int, source: str) -> str:
    """Blocks of a log beside those that are planned with, as a row of the page's table."""
    model, logged_on = models()[name], _logged_device(device)
    planned = cache_blocks(model, logged_on, count)
    other = logged_reserve(model, logged_on, count, logged) / 2**30
    where = f"[{source.replace('vllm-', 'vLLM ')}](#{source})"
    cells = (
        name,
        f"{count} × {device}",
        f"{other:.1f}",
        f"{logged:,}",
        f"{planned:,}",
        f"{planned / logged:.2f}",
    )
    return f"| {' | '.join(cells)} | {where} |"


def example() -> SimpleNamespace:
    """The presets as the records have them, each with its source."""
    shapes, sheets = read_record("model_configs"), read_record("devices")
    model_rows, device_rows = [], []
    for row in shapes["models"]:
        model = models().get(row["model"])
        if model:
            cells = (
                model.name,
                f"{model.parameters / 1e9:.2f}",
                f"{model.layers} × {model.kv_heads} × {model.head_dim}",
                f"{model.weight_bytes / 1e9:.1f}",
                f"{model.token_bytes:,.0f}",
            )
            model_rows.append(f"| {' | '.join(cells)} | [configuration]({row['url']}) |")
    for row in sheets["devices"]:
        device = devices()[row["device"]]
        sizes = (
            device.name,
            f"{device.peak_flops / 1e12:.1f}",
            f"{device.bandwidth / 1e9:,.0f}",
            f"{device.memory_bytes / 2**30:.1f}",
        )
        note = row["note"].replace("10^9", "10⁹")
        device_rows.append(f"| {' | '.join(sizes)} | [data sheet]({row['url']}): {note} |")
    reserves = sorted(
        logged_reserve(models()[name], _logged_device(device), count, blocks) / 2**30
        for name, device, count, blocks, _ in KV_LOGGED
    )
    return SimpleNamespace(
        model_rows="\n".join(model_rows),
        device_rows="\n".join(device_rows),
        logged_rows="\n".join(_logged_row(*row) for row in KV_LOGGED),
        reserved_gib=RESERVED_BYTES / 2**30,
        largest_reserve_gib=reserves[-1],
        second_reserve_gib=reserves[-2],
        models_date=shapes["looked_up"],
        devices_date=sheets["looked_up"],
    )


def check_step_between_one_and_two_rooflines() -> None:
    """A decode step is never faster than the roofline at the same efficiency, nor twice as slow.

    Source: `decode_step_time` of the chapter on latency, throughput and cost; 1 to 512 sequences of
    2,000 tokens.
    """
    for name in ("Llama-3-8B", "Llama-2-7B", "Gemma-2-9B"):
        model, device = models()[name], devices()["H100-80GB"]
        engine = engine_of(model, device, efficiency=0.5, token_budget=512, places=512)
        for batch in (1, 32, 512):
            roofline = decode_step_time(
                batch,
                model.parameters,
                model.weight_bytes,
                2000 * model.token_bytes,
                0.5 * device.peak_flops,
                0.5 * device.bandwidth,
            )
            ratio = engine.elapsed_s(1, 0, batch, 2000 * batch) / float(roofline)
            checks.inside(f"{name}, batch {batch}", ratio, 1.0, 2.0, kind="identity")


def check_parameters_of_published_models() -> None:
    """Shapes give the parameter counts of checkpoints.

    Source: 6,738,415,616 parameters of Llama-2-7B as its checkpoint counts them; names of the
    models within 9%.
    """
    found = models()
    checks.equal("Llama-2-7B", found["Llama-2-7B"].parameters, 6_738_415_616, kind="published")
    for name, billions in (("Llama-2-70B", 70), ("Llama-3.1-405B", 405), ("Qwen2.5-7B", 7)):
        got = found[name].parameters / 1e9
        checks.close(f"{name} [10⁹]", got, billions, rtol=0.09, kind="published")


def check_cache_by_hand() -> None:
    """The cache gets what weights, activations and libraries leave: 57 GB on one A100 for an 8B
    model.

    Source: 0.9·80·2³⁰ − 4·2³⁰ − 2·8,030,261,248 bytes, over 16 tokens of 131,072 bytes, by long
    division.
    """
    model, device = models()["Llama-3-8B"], devices()["A100-80GB"]
    spare = (0.9 * 80 - 4) * 2**30 - 2 * 8_030_261_248
    checks.equal("parameters", model.parameters, 8_030_261_248)
    checks.equal("blocks", cache_blocks(model, device), int(spare // (16 * 131_072)))
    eight = cache_blocks(replace(model, cache_bits=8), device)
    ratio = eight / cache_blocks(model, device)
    checks.inside("8-bit cache over 16-bit", ratio, 2, 2.0001, kind="identity")
    checks.equal("70B in 16 bits on one", cache_blocks(models()["Llama-2-70B"], device), 0)


def check_reserve_against_a_log() -> None:
    """What is planned for activations and libraries is within a tenth of what an engine of today
    logged for the same model, and the cache within 2%.

    Source: vLLM pull request 10511, Llama 3 8B on an A100 of 80 GB: 79.22 GiB that the driver
    offers, 1.79 GiB outside of PyTorch, 1.26 GiB of activations, 53.29 GiB of cache.
    """
    logged = 0.9 * (80 - 79.22) + 1.79 + 1.26
    checks.close("reserve [GiB]", RESERVED_BYTES / 2**30, logged, rtol=0.1, kind="published")
    planned = cache_blocks(models()["Llama-3-8B"], devices()["A100-80GB"]) * 16 * 131_072 / 2**30
    checks.close("cache [GiB]", planned, 53.29, rtol=0.02, kind="published")


def check_bad_input_is_refused() -> None:
    """Models that do not fit, bits that nobody stores and efficiencies above one name the
    argument."""
    big, device = models()["Llama-2-70B"], devices()["A100-80GB"]
    checks.raises("does not fit", engine_of, big, device, match="model weights must be smaller")
    checks.raises("bits", replace, big, weight_bits=5, match="weight_bits must be 16, 8 or 4")
    checks.raises("too good", engine_of, big, device, 2, 1.2, match="efficiency must be in (0, 1]")
    checks.raises("no share", cache_blocks, big, device, 1, 0.0, match="memory_share must be in")
    checks.raises("less", cache_blocks, big, device, 2, 0.9, -1.0, match="reserved_bytes must be")
    checks.raises("too many", logged_reserve, big, device, 2, 10**6, match="blocks must be no more")
    checks.raises("half a layer", parameter_count, 0.5, *[1] * 6, match="layers must be a positive")
