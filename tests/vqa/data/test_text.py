"""Text files to blocks of tokens."""

from pathlib import Path

import pytest
import torch

from vqa.data.characters import CharacterTokenizer
from vqa.data.text import (
    ConsecutiveBlocks,
    RandomBlocks,
    ResumableSampler,
    build_tokenizer,
    encode_documents,
    read_documents,
    serialize_tokenizer,
)
from vqa.datasets import DataError

TEXT = "Prüfe this:\n\ttwo  blanks, a dash – and an end.\n"


def test_character_tokenizer_round_trip() -> None:
    tokenizer = CharacterTokenizer.train([TEXT, "xyz"])
    ids = tokenizer(TEXT, add_special_tokens=False, verbose=False)["input_ids"]
    assert len(ids) == len(TEXT) and tokenizer.decode(ids) == TEXT
    assert len(tokenizer) == 2 + len(set(TEXT + "xyz"))


def test_character_tokenizer_maps_unknown_characters_to_one_id() -> None:
    tokenizer = CharacterTokenizer.train(["abc"])
    assert tokenizer("aéc漢")["input_ids"] == [2, 0, 4, 0]
    assert tokenizer.decode([2, 0, 4, 0, 1]) == "a<unk>c<unk><eos>"


def test_encode_documents_ends_each_document() -> None:
    tokenizer = CharacterTokenizer.train(["ab"])
    assert encode_documents(["ab", "b"], tokenizer).tolist() == [2, 3, 1, 3, 1]


def test_build_tokenizer_bpe_and_its_folder_agree(tmp_path: Path) -> None:
    bpe = build_tokenizer("bpe", [TEXT * 5], 300)
    assert len(bpe) <= 300
    ids = encode_documents([TEXT], bpe)
    assert bpe.decode(ids[:-1].tolist()) == " " + TEXT and ids[-1] == bpe.eos_token_id
    bpe.save_pretrained(tmp_path)
    folder = build_tokenizer(str(tmp_path), [], 0)
    assert encode_documents([TEXT], folder).equal(ids)
    assert serialize_tokenizer(folder) == serialize_tokenizer(bpe)


def test_build_tokenizer_refuses_a_folder_without_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no tokenizer.json"):
        build_tokenizer(str(tmp_path), [TEXT], 300)


def test_serialize_tokenizer_tells_vocabularies_apart() -> None:
    first, same, other = (build_tokenizer("characters", [text], 0) for text in ("ab", "ba", "abc"))
    assert serialize_tokenizer(first) == serialize_tokenizer(same) != serialize_tokenizer(other)


def test_random_blocks_depend_on_seed_and_index_alone() -> None:
    tokens = torch.arange(1000)
    blocks = RandomBlocks(tokens, 7, 100, seed=3)
    longer = RandomBlocks(tokens, 7, 500, seed=3)
    for index in (99, 0, 42):
        assert blocks[index].equal(longer[index])
    assert not any(blocks[i].equal(RandomBlocks(tokens, 7, 100, seed=4)[i]) for i in range(5))
    starts = torch.stack([longer[i][0] for i in range(500)])
    assert starts.min() < 50 and starts.max() > 940 and len(starts.unique()) > 300


def test_random_blocks_reach_both_ends() -> None:
    blocks = RandomBlocks(torch.arange(3), 2, 20)
    assert {tuple(block.tolist()) for block in map(blocks.__getitem__, range(20))} == {
        (0, 1),
        (1, 2),
    }


def test_consecutive_blocks_leave_out_the_rest() -> None:
    blocks = ConsecutiveBlocks(torch.arange(11), 3)
    assert [block.tolist() for block in map(blocks.__getitem__, range(len(blocks)))] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
    ]


@pytest.mark.parametrize("blocks", [ConsecutiveBlocks, lambda x, n: RandomBlocks(x, n, 1)])
def test_blocks_refuse_a_text_shorter_than_a_block(blocks: type[ConsecutiveBlocks]) -> None:
    with pytest.raises(DataError, match="5 tokens, fewer than a block of 6"):
        blocks(torch.arange(5), 6)


def test_resumable_sampler_continues_where_it_was() -> None:
    assert list(ResumableSampler(0, 6)) == [*range(6)]
    assert list(ResumableSampler(4, 6)) == [4, 5] and len(ResumableSampler(4, 6)) == 2
    assert len(ResumableSampler(7, 6)) == 0


def test_resumable_sampler_shares_out_over_processes() -> None:
    shares = [list(ResumableSampler(8 + rank, 16, 2)) for rank in range(2)]
    assert shares == [[8, 10, 12, 14], [9, 11, 13, 15]]


def test_read_documents_needs_a_file() -> None:
    with pytest.raises(DataError, match="name at least one"):
        read_documents([])
