/* VLFeat's C functions on arrays of images: ctypes cannot call many of its accessors, which are inline.
   Compiled by vlfeat.py. Images are float32 and row-major. With a null output pointer, results are computed
   but not copied. */

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vl/dsift.h>
#include <vl/fisher.h>
#include <vl/generic.h>
#include <vl/gmm.h>
#include <vl/hog.h>
#include <vl/homkermap.h>
#include <vl/imopv.h>
#include <vl/vlad.h>

void set_threads(int threads) { vl_set_num_threads(threads); }

static VlDsiftFilter *new_dsift(int width, int height, int step, int bin, int first, int flat,
                                double window) {
  VlDsiftFilter *filter = vl_dsift_new_basic(width, height, step, bin);
  vl_dsift_set_bounds(filter, first, first, width - 1, height - 1);
  vl_dsift_set_flat_window(filter, flat);
  vl_dsift_set_window_size(filter, window);
  return filter;
}

/* Number of descriptors of an image of this size. */
int dsift_count(int width, int height, int step, int bin, int first) {
  VlDsiftFilter *filter = new_dsift(width, height, step, bin, first, 1, 1.5);
  int count = vl_dsift_get_keypoint_num(filter);
  vl_dsift_delete(filter);
  return count;
}

/* descriptors (n, m, 128); contrasts (n, m); centers (m, 2): x, y in pixels */
void dsift(const float *images, int n, int width, int height, int step, int bin, int first, int flat,
           double window, float *descriptors, float *contrasts, float *centers) {
  VlDsiftFilter *filter = new_dsift(width, height, step, bin, first, flat, window);
  int m = vl_dsift_get_keypoint_num(filter);
  for (int i = 0; i < n; i++) {
    vl_dsift_process(filter, images + (size_t)i * width * height);
    if (!descriptors) continue;
    memcpy(descriptors + (size_t)i * m * 128, vl_dsift_get_descriptors(filter), sizeof(float) * m * 128);
    const VlDsiftKeypoint *keypoints = vl_dsift_get_keypoints(filter);
    for (int k = 0; k < m; k++) {
      contrasts[(size_t)i * m + k] = keypoints[k].norm;
      centers[2 * k] = keypoints[k].x;
      centers[2 * k + 1] = keypoints[k].y;
    }
  }
  vl_dsift_delete(filter);
}

/* A Gaussian that extends 4 sigma to each side, with repeated borders, as in the toolbox's vl_imsmooth.c;
   output (n, height, width) */
void smooth(const float *images, int n, int width, int height, double sigma, float *output) {
  int extent = ceil(4 * sigma);
  float *kernel = malloc(sizeof(float) * (2 * extent + 1));
  float *columns = malloc(sizeof(float) * width * height);
  float total = 0;
  for (int i = -extent; i <= extent; i++)
    total += kernel[i + extent] = expf(-0.5 * i * i / (sigma * sigma));
  for (int i = 0; i <= 2 * extent; i++) kernel[i] /= total;
  for (int i = 0; i < n; i++) {
    size_t start = (size_t)i * width * height;
    int flags = VL_PAD_BY_CONTINUITY | VL_TRANSPOSE;
    vl_imconvcol_vf(columns, height, images + start, width, height, width, kernel, -extent, extent, 1,
                    flags);
    vl_imconvcol_vf(output + start, width, columns, height, width, height, kernel, -extent, extent, 1,
                    flags);
  }
  free(kernel);
  free(columns);
}

/* Dalal-Triggs variant; features (n, 4 * orientations, rows, columns of cells), rows = (height + cell / 2) / cell */
void hog(const float *images, int n, int channels, int width, int height, int cell, int orientations,
         float *features) {
  size_t rows = (height + cell / 2) / cell, columns = (width + cell / 2) / cell;
  size_t length = rows * columns * 4 * orientations;
  VlHog *self = vl_hog_new(VlHogVariantDalalTriggs, orientations, VL_FALSE);
  for (int i = 0; i < n; i++) {
    const float *image = images + (size_t)i * channels * width * height;
    vl_hog_put_image(self, image, width, height, channels, cell);
    vl_hog_extract(self, features + i * length);
  }
  vl_hog_delete(self);
}

/* vectors (n, 2 * clusters * dimension) from data (n, count, dimension): all mean terms, then all variance
   terms */
void fisher(const float *data, int n, int count, int dimension, const float *means,
            const float *variances, const float *priors, int clusters, int flags, float *vectors) {
  for (int i = 0; i < n; i++)
    vl_fisher_encode(vectors + (size_t)i * 2 * clusters * dimension, VL_TYPE_FLOAT, means, dimension,
                     clusters, variances, priors, data + (size_t)i * count * dimension, count, flags);
}

/* posteriors (count, clusters); returns the log-likelihood of all data together */
double posteriors(const float *data, int count, int dimension, const float *means,
                  const float *variances, const float *priors, int clusters, float *result) {
  return vl_get_gmm_data_posteriors_f(result, clusters, count, priors, means, dimension, variances,
                                      data);
}

/* Expectation maximization from the given parameters, which are replaced by the fitted ones; returns the
   log-likelihood. */
double gmm(const float *data, int count, int dimension, float *means, float *variances, float *priors,
           int clusters, int iterations, double min_variance) {
  VlGMM *self = vl_gmm_new(VL_TYPE_FLOAT, dimension, clusters);
  vl_gmm_set_initialization(self, VlGMMCustom);
  vl_gmm_set_max_num_iterations(self, iterations);
  vl_gmm_set_covariance_lower_bound(self, min_variance);
  vl_gmm_set_means(self, means);
  vl_gmm_set_covariances(self, variances);
  vl_gmm_set_priors(self, priors);
  vl_gmm_cluster(self, data, count);
  memcpy(means, vl_gmm_get_means(self), sizeof(float) * clusters * dimension);
  memcpy(variances, vl_gmm_get_covariances(self), sizeof(float) * clusters * dimension);
  memcpy(priors, vl_gmm_get_priors(self), sizeof(float) * clusters);
  double likelihood = vl_gmm_get_loglikelihood(self);
  vl_gmm_delete(self);
  return likelihood;
}

/* vectors (n, clusters * dimension) from data (n, count, dimension) and the weight of each cluster for each
   descriptor (n, count, clusters) */
void vlad(const float *data, int n, int count, int dimension, const float *means, const float *weights,
          int clusters, int flags, float *vectors) {
  for (int i = 0; i < n; i++)
    vl_vlad_encode(vectors + (size_t)i * clusters * dimension, VL_TYPE_FLOAT, means, dimension,
                   clusters, data + (size_t)i * count * dimension, count,
                   weights + (size_t)i * count * clusters, flags);
}

/* features (count, 2 * order + 1) */
void chi2_map(const float *values, int count, int order, double gamma, float *features) {
  VlHomogeneousKernelMap *self = vl_homogeneouskernelmap_new(
      VlHomogeneousKernelChi2, gamma, order, -1, VlHomogeneousKernelMapWindowRectangular);
  for (int i = 0; i < count; i++) {
    float *mapped = features + (size_t)i * (2 * order + 1);
    vl_homogeneouskernelmap_evaluate_f(self, mapped, 1, values[i]);
  }
  vl_homogeneouskernelmap_delete(self);
}
