import json
import logging

import pytest

from gormpo_density.config_files import parse_yaml
from gormpo_density.config_tree import COMMAND_LINE, ConfigTree
from gormpo_density.recae_keys import RECAE_KEYS

#: RecAE-PyTorch's own file.
THEIRS = {
    **{"exp_name": "rnn_ae_ECG5000_exp_0", "agent": "RecurrentAEAgent", "rnn_type": "GRU"},
    **{"rnn_act": "None", "n_layers": 1, "latent_dim": 72, "n_features": 1},
    **{"learning_rate": 0.001, "batch_size": 128, "batch_size_val": 256, "max_epoch": 2000},
    **{"loss": "MAEAUC", "lambda_auc": 0.1, "sampler_random_state": 88},
    **{"data_folder": "./data/ECG5000/numpy/", "X_train": "X_train.npy", "y_train": "y_train.npy"},
    **{"X_train_p": "X_train_p.npy", "y_train_p": "y_train_p.npy", "X_val": "X_val.npy"},
    **{"y_val": "y_val.npy", "X_test": "X_test.npy", "y_test": "y_test.npy"},
    **{"X_val_p": "X_val_p.npy", "y_val_p": "y_val_p.npy", "training_type": "more_class"},
    **{"validation_type": "one_class", "checkpoint_file": "checkpoint.pth.tar"},
    **{"checkpoint_dir": "./experiments/checkpoints/", "load_checkpoint": False},
    **{"cuda": False, "device": "cpu", "gpu_device": 0, "seed": 58},
}


def translated(values, *overrides):
    text = json.dumps(values)
    tree = ConfigTree(parse_yaml(text, "theirs.json"), "theirs.json")
    RECAE_KEYS.rename(tree)
    tree.override(overrides, RECAE_KEYS.aliases)
    RECAE_KEYS.translate(tree)
    return tree


def test_their_file_is_translated_whole(caplog):
    with caplog.at_level(logging.WARNING):
        tree = translated(THEIRS)
    assert tree.problems == []
    assert tree.values == {
        "task": "rnn_ae_ECG5000_exp_0",
        "seed": 58,
        "device": "cpu",
        "data": {"data_dir": "./data/ECG5000/numpy/", "dataset": "ecg5000"},
        "model": {
            **{"name": "recurrent_ae", "cell": "gru", "num_layers": 1, "latent_dim": 72},
            **{"loss": "mae_auc", "lambda_auc": 0.1},
        },
        "fit": {"lr": 0.001, "batch_size": 128, "epochs": 2000},
    }
    told = {message.split(": ")[1].split(" has")[0] for message in caplog.messages}
    assert told == RECAE_KEYS.without_effect.keys()


@pytest.mark.parametrize(
    ("theirs", "ours"), [("MAE", "mae"), ("MSE", "mse"), ("MSEAUC", "mse_auc"), ("huber", "huber")]
)
def test_losses_have_our_names(theirs, ours):
    assert translated({"loss": theirs}).get("model.loss") == ours


def test_the_activation_is_that_of_an_rnn(caplog):
    tree = translated({"rnn_type": "RNN", "rnn_act": "relu"})
    assert tree.values["model"] == {"name": "recurrent_ae", "cell": "rnn", "nonlinearity": "relu"}
    with caplog.at_level(logging.WARNING):
        tree = translated({"rnn_type": "LSTM", "rnn_act": "relu"})
    assert tree.values["model"] == {"name": "recurrent_ae", "cell": "lstm"}
    assert "rnn_act has no effect here: only an RNN has a choice" in caplog.text


def test_a_model_that_is_named_is_kept():
    tree = translated({"rnn_type": "GRU", "model": {"name": "ensemble"}})
    assert tree.get("model.name") == "ensemble"


@pytest.mark.parametrize(
    ("values", "device"),
    [
        ({"cuda": True}, "cuda"),
        ({"cuda": True, "gpu_device": 1}, "cuda:1"),
        ({"cuda": True, "device": "cpu"}, "cuda"),
        ({"cuda": False, "device": "cpu"}, "cpu"),
        ({"cuda": False}, None),
    ],
)
def test_cuda_chooses_the_device(values, device):
    tree = translated(values)
    assert tree.get("device") == device
    assert set(tree.values) <= {"device"}


def test_the_command_lines_device_outdoes_the_files_cuda():
    assert translated({"cuda": True}, "device=cpu").get("device") == "cpu"
    assert translated({"device": "cpu"}, "cuda=true").get("device") == "cuda"


def test_what_is_not_a_truth_is_told():
    assert translated({"cuda": "yes please"}).problems == [
        "theirs.json: cuda must be true or false, is 'yes please'"
    ]


def test_the_command_line_outdoes_the_file():
    tree = translated(THEIRS, "latent_dim=8", "max_epoch=3", "data.dataset=ucr")
    assert (tree.get("model.latent_dim"), tree.get("fit.epochs")) == (8, 3)
    assert tree.get("data.dataset") == "ucr"
    assert tree.origin("fit.epochs") == COMMAND_LINE


def test_a_key_and_its_path_are_a_conflict():
    tree = translated({"rnn_type": "GRU", "model": {"cell": "lstm"}})
    assert tree.problems == ["theirs.json: rnn_type and model.cell are the same; keep one"]
