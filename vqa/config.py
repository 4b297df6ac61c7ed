"""What a model is made of: plain words, one place, kept in config.json."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Vision:
    """The image encoder, at native resolution: a timm ViT over tiles, or over the whole image with
    latent attention, or Latte blocks over all patches."""

    encoder: Literal["vit", "latte_vit", "glyphs"] = "vit"
    """vit: the words below; latte_vit: `latte_args`; glyphs, for print: `glyph_args`."""
    latte_args: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of encoders/vision/latte_vit.py: patch, width, local, depth, ..."""
    glyph_args: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of encoders/vision/glyphs.py: line, keep, local, ..."""
    vit: str = "vit_small_patch16_rope_224"
    """Name of a timm ViT. The default has rotary positions, so tiles may have any size."""
    vit_args: dict[str, Any] = field(
        default_factory=lambda: {"embed_dim": 192, "depth": 4, "num_heads": 3, "init_values": 1.0}
    )
    """Keyword arguments of timm.create_model: embed_dim, depth, num_heads, patch_size, ...
    init_values 1.0: blocks count from the first step; that ViT's own layer scale of 1e-5 would have
    them start as the identity (timm drops arguments that are None)."""
    attention: Literal["softmax", "latte"] = "softmax"
    """softmax: the ViT's own, within tiles; latte: convert the ViT, pretrained or not, to
    Latte-Macchiato, which encodes the whole image at once, without tiles and overview, in linear
    time (docs/vision.md)."""
    attention_args: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of encoders/vision/convert_vit.py, for attention latte: radius, latents,
    gain."""
    tile: int = 256
    """Side of a tile in pixels, a multiple of the ViT's patch size."""
    max_patches: int | None = None
    """Patches of an image without its overview, at most: of more it is read at a smaller scale, as
    each answer tells. None: all of them."""
    overview: bool = True
    """Read a small view of the whole image besides, where it has more than one tile."""
    conv_stem: bool = True
    """Embed patches by small convolutions: learns faster from scratch; off for pretrained ViTs."""

    def __post_init__(self) -> None:
        if self.encoder not in ("vit", "latte_vit", "glyphs"):
            raise ValueError(f"encoder must be vit, latte_vit or glyphs, not {self.encoder!r}")
        if self.attention not in ("softmax", "latte"):
            raise ValueError(f"attention must be softmax or latte, not {self.attention!r}")
        if self.attention == "latte" and self.encoder != "vit":
            raise ValueError(f"attention latte converts the encoder vit, not {self.encoder}")
        if self.attention_args and self.attention != "latte":
            raise ValueError("attention_args are for attention latte: softmax has none")


@dataclass(frozen=True)
class Network:
    """The network: sizes, mixer and where the question is read."""

    vision: Vision = field(default_factory=Vision)
    """The image encoder."""
    dim: int = 192
    """Width of a token; divisible by 4 and by heads."""
    heads: int = 6
    """Heads of every mixer."""
    latents: int = 384
    """Latents of a Latte mixer over all heads (L in the paper), divisible by heads; 64 a head as
    a rule, for with fewer it learns to find things later. Attention has none."""
    encoder_depth: int = 4
    """Bidirectional blocks that read [image ; question]."""
    question_depth: int = 0
    """Blocks over the question alone that see `kernel` tokens across, before it is read with the
    image: they make words of letters."""
    decoder_depth: int = 2
    """Causal blocks that write the answer."""
    mlp_ratio: float = 4.0
    """Hidden width of a block's MLP over dim."""
    mixer: str = "latte"
    """Token mixer of both stacks: a file of encoders/mixers (latte, macchiato, attention)."""
    mixer_args: dict[str, Any] = field(default_factory=dict)
    """More keyword arguments of the mixer: vapor, recurrence (latte, macchiato), window, radius
    (macchiato), rotary (macchiato, attention)."""
    decoder_mixer: str | None = None
    """Token mixer of the decoder, where it is another than `mixer`. macchiato: words also read the
    words just before them, and need not look for these among thousands of patches."""
    decoder_args: dict[str, Any] = field(default_factory=dict)
    """More keyword arguments of `decoder_mixer`."""
    grid_conv: bool = True
    """A depth-wise convolution over the patch grid before each mixer of the encoder."""
    kernel: int = 3
    """Patches across of that convolution."""
    dropout: float = 0.0
    """Dropout after each mixer and MLP."""
    question: Literal["encoder", "decoder"] = "encoder"
    """encoder: image and question are read together (most accurate); decoder: the image is read
    alone, once, and each question costs its own tokens only."""
    memory: Literal["state", "sequence"] = "state"
    """How the decoder takes in what was read: as the initial state of each layer, or as a sequence
    that passes through the decoder's blocks before the answer."""

    language_model: dict[str, Any] | None = None
    """config.json of a converted language model (vqa convert) that reads the question and writes
    the answer, in place of `decoder_depth` blocks; training sets it from model.language_model."""
    transcript: bool = False
    """With a language model: it reads the printed words of the image as text, all of them in
    reading order, before the question (vqa/data/transcripts.py)."""
    tags: dict[str, Any] = field(default_factory=dict)
    """With transcript: what a photo shows is text, too: groups, several (encoders/vision/tagger.py)
    and shown (vqa/data/tags.py)."""
    answer_tokens: int = 32
    """Tokens of the longest answer that is written."""
    carry: bool = False
    """With the question in the decoder: each answer token also bears the sum of the question's
    tokens as they left the decoder, mapped: what the asked word has read of the image reaches the
    answer without being looked for among the patches, and is learned far sooner (docs/log.md).
    With find: as they left the encoder."""
    find: bool = False
    """With the question in the encoder: the tokens that hold the answer are marked, learned from
    boxes where the data has them, and the decoder reads these alone, in order, and the question
    (encoders/finder.py)."""
    tally: bool = False
    """With the question in the encoder: gates on the image's tokens are summed, and each answer
    token bears the sums: a network that is to count, which a mean over tokens cannot do; learned
    from boxes and numbers where the data has them (encoders/tally.py)."""

    @property
    def writes(self) -> str:
        """Token mixer of the decoder."""
        return self.decoder_mixer or self.mixer

    def __post_init__(self) -> None:
        if self.decoder_args and self.decoder_mixer is None:
            raise ValueError("decoder_args are for a decoder_mixer, and none is given")
        if self.language_model is not None and (self.question != "decoder" or self.carry):
            raise ValueError(
                "a language model reads the question: set question to decoder and carry to false"
            )
        if self.language_model is not None and self.memory != "state":
            raise ValueError("a language model takes images as states: set memory to state")
        if self.find and self.question != "encoder":
            raise ValueError("find is for a question in the encoder: set question to encoder")
        if self.tally and (self.question != "encoder" or self.find):
            raise ValueError("tally is for a question in the encoder, without find")
        if self.carry and self.question != "decoder" and not self.find:
            raise ValueError("carry is for a question in the decoder: set question to decoder")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, not {self.kernel}")
        if self.dim % 4 or self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be divisible by 4 and by heads {self.heads}")
        for name, known in (
            ("question", ("encoder", "decoder")),
            ("memory", ("state", "sequence")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, not {getattr(self, name)!r}")

    @staticmethod
    def of(words: dict[str, Any]) -> "Network":
        """The network that `asdict` made `words` of. Raises ValueError for unknown words."""
        try:
            words = dict(words)
            return Network(vision=Vision(**words.pop("vision", {})), **words)
        except TypeError as error:
            raise ValueError(f"not a network of this version: {error}") from None


class LatteVQAConfig(PreTrainedConfig):
    """Hugging Face configuration: the network's words, the vocabulary and the special tokens.

    `confidence_temperature`: what logits are divided by where an answer's probability is told
    (Guo et al. 2017), as benchmarks/temperature.py finds it. What is written greedily does not
    change; of beams, which are told by their probability, another may come first.
    `abstain_below`: the probability of an answer below which it is no better than a guess, as
    `vqa calibrate` finds it.
    """

    model_type = "latte_vqa"

    def __init__(
        self,
        network: dict[str, Any] | Network | None = None,
        vocab_size: int = 512,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        pad_token_id: int = 0,
        confidence_temperature: float = 1.0,
        abstain_below: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.network = asdict(network) if isinstance(network, Network) else (network or {})
        self.vocab_size = vocab_size
        self.confidence_temperature = confidence_temperature
        self.abstain_below = abstain_below
        kwargs["is_encoder_decoder"] = False  # to generate(), the memory is a cache like any other
        super().__init__(
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
            **kwargs,
        )
