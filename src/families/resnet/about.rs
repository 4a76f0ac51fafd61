//! The families of the table's rows.

use super::super::Family;

pub(super) static RESNET: Family = Family {
    name: "ResNet",
    year: 2015,
    paper: "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385",
    idea: "A block learns what to add to its input, so that a hundred layers train as easily as ten.",
    strengths: "Trains without tricks at a hundred layers and more; the backbone that most detectors and comparisons start from.",
    weaknesses: "Many parameters and multiply-adds for its accuracy beside later networks.",
};

pub(super) static PLAIN: Family = Family {
    name: "Plain",
    year: 2015,
    paper: RESNET.paper,
    idea: "ResNet without its shortcuts: what the paper compares with, to show that depth alone makes training harder.",
    strengths: "The same layers and parameters as the ResNet of its depth, so a comparison shows what shortcuts do.",
    weaknesses: "The deeper it is, the worse it trains: 34 layers err more than 18, on the training set too.",
};

pub(super) static RESNEXT: Family = Family {
    name: "ResNeXt",
    year: 2016,
    paper: "Xie et al.: Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017, arXiv:1611.05431",
    idea: "The middle of a bottleneck splits into many narrow paths: more groups beat more depth or width.",
    strengths: "More accurate than a ResNet of the same cost.",
    weaknesses: "Grouped convolutions run below the speed that their multiply-adds promise.",
};

pub(super) static WIDE: Family = Family {
    name: "Wide ResNet",
    year: 2016,
    paper: "Zagoruyko, Komodakis: Wide Residual Networks, BMVC 2016, arXiv:1605.07146",
    idea: "Wider blocks instead of more of them: the same accuracy with a fraction of the depth.",
    strengths: "Few, large operations that hardware runs near its peak.",
    weaknesses: "Nearly three times the parameters and multiply-adds of the ResNet of its depth.",
};

pub(super) static RESNET_D: Family = Family {
    name: "ResNet-D",
    year: 2018,
    paper: "He, Zhang, Zhang, Zhang, Xie, Li: Bag of Tricks for Image Classification with Convolutional Neural \
            Networks, CVPR 2019, arXiv:1812.01187",
    idea: "No pixel is skipped: three 3×3 begin the network, and a shortcut averages before its 1×1 instead of \
           striding over three of four values.",
    strengths: "More accurate than a ResNet for a few more multiply-adds; its stem and shortcuts fit other networks too.",
    weaknesses: "Three convolutions at half the image's size: the stem takes a larger part of time and memory.",
};

pub(super) static SE_RESNET: Family = Family {
    name: "SE-ResNet",
    year: 2017,
    paper: "Hu, Shen, Albanie, Sun, Wu: Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507",
    idea: "A block weighs its channels by a gate that is computed from their means over the whole image.",
    strengths: "More accurate than a ResNet for almost no multiply-adds; the gate fits any block.",
    weaknesses: "A tenth more parameters, and a mean over the image in every block, which costs more time than its \
                 multiply-adds say.",
};

pub(super) static RESNET_V2: Family = Family {
    name: "ResNet-v2",
    year: 2016,
    paper: "He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv:1603.05027",
    idea: "Norm and activation come before each convolution, so that nothing stands on the way from the first block \
           to the last but sums.",
    strengths: "Trains at a thousand layers, and the deeper, the more it gains over ResNet.",
    weaknesses: "At a hundred layers or fewer hardly better than ResNet, and its norms cannot be folded into the \
                 convolution before them at a block's beginning.",
};
