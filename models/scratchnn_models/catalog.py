"""What can be trained: each name is a module of this package with a `Recipe`, a `Training` and `METRICS`."""

from importlib import import_module
from types import ModuleType

MODELS = {
    "lenet": "a convolutional network that reads digits (LeCun et al. 1998)",
    "pca": "principal component analysis, the linear autoencoder in closed form",
    "autoencoder": "digits through a few numbers (Hinton & Salakhutdinov 2006)",
    "ellipse_ae": "points of an ellipse through one number, as a picture",
    "denoising_ae": "damaged digits, cleaned (Vincent et al. 2008)",
    "scanned_pages": "pages of text with stains, blur and uneven light, cleaned",
    "conv_ae": "strided convolutions to a code and back; superresolution (Masci et al. 2011)",
    "sparse_ae": "penalties on the activations side by side: L1, L2, KL (Ng 2011)",
    "k_sparse_ae": "of 1000 units, only the k largest speak (Makhzani & Frey 2013)",
    "anomaly": "an autoencoder that never saw one class, and how well it tells (Sakurada & Yairi 2014)",
    "vae": "the variational autoencoder on binarised digits (Kingma & Welling 2014)",
    "kl_weights": "what the weight of the KL term does to a latent space, and its collapse",
    "beta_vae": "disentangled codes of generated shapes (Higgins et al. 2017)",
    "wae": "codes pulled onto the prior together, by MMD or an adversary (Tolstikhin et al. 2018)",
    "rgb_codes": "emoji in bits, by a VAE and a VQ-VAE with one likelihood (van den Oord et al. 2017)",
    "vq_vae": "digits as maps of symbols, and a prior over them (van den Oord et al. 2017)",
    "gan": "two players, and digits out of noise (Goodfellow et al. 2014)",
    "dcgan": "convolutional players; spectral norm and R1 as options (Radford et al. 2016)",
    "wgan": "a critic that measures how far apart two distributions are (Arjovsky et al. 2017)",
    "wgan_gp": "the same critic under a gradient penalty (Gulrajani et al. 2017)",
    "vae_gan": "a VAE that measures likeness by a discriminator's features (Larsen et al. 2016)",
    "face_judge": "a small network that reads glasses, beard, smile, hair and skin of the drawn faces",
    "gan_failures": "mode collapse, vanishing gradients and going round, each provoked and cured",
    "gan_inversion": "any digit brought into the latent space of a trained DCGAN (Zhu et al. 2016)",
}


def module(model: str) -> ModuleType:
    """The module of a model; an error that lists all of them for a name that is none."""
    from scratchnn.errors import ScratchnnError  # brings NumPy along: `scratchnn --help` does without

    if model not in MODELS:
        raise ScratchnnError(f"there is no model {model!r}; there is: {', '.join(MODELS)}")
    return import_module(f"scratchnn_models.{model}")
