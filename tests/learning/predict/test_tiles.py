import numpy as np
import pytest

from cmfnet_napari.learning.predict.tiles import make_tiles, smallest_tile


def at_most(voxels):
    return lambda size: np.prod(size) <= voxels


@pytest.mark.parametrize(
    ("shape", "voxels"),
    [((70, 200, 130), 400_000), ((5, 300, 33), 60_000), ((90, 91, 17), 130_000)],
)
def test_cores_cover_the_volume_once_and_cuts_fit(shape, voxels):
    tiles = make_tiles(shape, at_most(voxels))
    covered = np.zeros(shape, dtype=int)
    for tile in tiles:
        covered[tile.core] += 1
        assert np.prod([-(-(s.stop - s.start) // 16) * 16 for s in tile.cut]) <= voxels
    assert len(tiles) > 1
    assert (covered == 1).all()


def test_cuts_start_on_the_networks_coarsest_grid_and_hold_a_halo():
    shape = (70, 200, 130)
    for tile in make_tiles(shape, at_most(1_500_000)):
        for core, cut, n in zip(tile.core, tile.cut, shape, strict=True):
            assert core.start % 16 == cut.start % 16 == 0
            assert cut.start == max(core.start - 32, 0)
            assert cut.stop == min(core.stop + 32, n)


def test_inner_is_the_core_within_its_cut():
    volume = np.arange(70 * 200 * 130).reshape(70, 200, 130)
    for tile in make_tiles(volume.shape, at_most(400_000)):
        np.testing.assert_array_equal(volume[tile.cut][tile.inner], volume[tile.core])


def test_a_volume_that_fits_is_one_tile():
    whole = (slice(0, 20), slice(0, 40), slice(0, 50))
    (tile,) = make_tiles((20, 40, 50), at_most(32 * 48 * 64))
    assert tile.core == tile.cut == whole


def test_less_memory_takes_a_narrower_halo_before_it_gives_up():
    shape = (200, 200, 200)
    assert smallest_tile(shape) == (48, 48, 48)
    tiles = make_tiles(shape, at_most(48**3))
    assert max(t.cut[0].stop - t.cut[0].start for t in tiles) == 48
    assert len(tiles) == 13**3
    assert make_tiles(shape, at_most(48**3 - 1)) == []


def test_a_thin_volume_counts_as_the_network_pads_it():
    assert smallest_tile((3, 4, 5)) == (16, 16, 32)
    assert make_tiles((3, 4, 5), at_most(16 * 16 * 32 - 1)) == []
